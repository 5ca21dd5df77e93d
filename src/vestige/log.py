"""AuditLog: the one versioned file that a run leaves, which every report, gate and comparison reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError

from vestige.errors import DataError, MissingDependency, UsageError
from vestige.log_parts import Agreement as Agreement
from vestige.log_parts import CanaryFacts as CanaryFacts
from vestige.log_parts import CanaryPower as CanaryPower
from vestige.log_parts import Claim as Claim
from vestige.log_parts import Divergence as Divergence
from vestige.log_parts import Epsilon as Epsilon
from vestige.log_parts import Figure as Figure
from vestige.log_parts import Layer as Layer
from vestige.log_parts import Part as Part
from vestige.log_parts import Reach as Reach
from vestige.log_results import AttackResult as AttackResult
from vestige.log_results import Curve as Curve
from vestige.log_results import Histogram as Histogram
from vestige.log_results import Operational as Operational
from vestige.log_results import PerTarget as PerTarget
from vestige.log_results import RecordRisk as RecordRisk
from vestige.log_results import Risk as Risk
from vestige.log_results import Slice as Slice
from vestige.log_results import TprPoint as TprPoint
from vestige.record_table import RecordRow, to_csv
from vestige.registry import Registry, load

if TYPE_CHECKING:
    import pandas

FORMAT = "vestige.audit"
VERSION = 1

FORMATS = Registry(
    "formats",
    {
        "html": "vestige.report.html:render",
        "json": "vestige.log:AuditLog.to_json",
        "md": "vestige.report.markdown:render",
        "csv": "vestige.report.csv:render",
        "sarif": "vestige.report.sarif:render",
        "junit": "vestige.report.junit:render",
        "text": "vestige.report.terminal:render",
        "compliance": "vestige.report.compliance.build:render",
        "compliance-md": "vestige.report.compliance.markdown:render",
    },
)
"""Report formats: ``render(log) -> str`` each. References, because the log lies below the reports that read it."""

SUFFIXES = {
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".md": "md",
    ".csv": "csv",
    ".sarif": "sarif",
    ".xml": "junit",
    ".txt": "text",
}

Status = Literal["complete", "partial", "failed", "interrupted"]
Level = Literal["info", "warning", "error"]


class Text(str):
    """Text that an interactive session shows as it is, not as a quoted string."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Population(Part):
    """The records audited, and those held out from every model."""

    members: int
    nonmembers: int
    classes: int
    records: int = 0
    held_out: int = 0
    features: int = 0
    source: str = ""
    fingerprint: str = ""


class TargetFacts(Part):
    """The model under audit."""

    kind: str
    access: str
    train_accuracy: float | None = None
    test_accuracy: float | None = None
    train_loss: float | None = None
    test_loss: float | None = None
    given: bool = False
    recipe: str = ""


class ShadowFacts(Part):
    """The shadow models."""

    count: int = 0
    trained: int = 0
    reused: int = 0
    train_accuracy: float | None = None
    test_accuracy: float | None = None
    seconds: float = 0.0
    design: str = ""
    guessed: dict[str, Any] = Field(default={}, description="hyperparameters that the adversary guessed")


class Check(Part):
    """Something that says whether this audit should be believed."""

    id: str
    level: Level
    message: str
    cure: str = ""
    cause: str = ""


class Checked(Part):
    """A check that was made, and how it ended: passed, or the gravest level of the doubts it raised (in ``checks``)."""

    id: str
    outcome: Literal["passed", "info", "warning", "error"]


class Finding(Part):
    """One rule of the gate, judged."""

    id: str
    attack: str
    metric: str
    value: float | None
    limit: float
    passed: bool
    message: str


class Seconds(Part):
    """Wall-clock seconds per stage."""

    shadow: float = 0.0
    signals: float = 0.0
    attacks: float = 0.0
    total: float = 0.0


class Cost(Part):
    """What the audit used."""

    seconds: Seconds = Seconds()
    peak_rss_mb: float = 0.0
    target_queries: int = 0
    store_mb: float = 0.0


class AuditLog(Part):
    """A whole audit. Read it with `AuditLog.load`, write it with `save`, render it with `report`."""

    format: Literal["vestige.audit"] = "vestige.audit"
    version: Literal[1] = 1
    status: Status = "complete"
    name: str = "audit"
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    config: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    population: Population
    target: TargetFacts
    shadow: ShadowFacts = ShadowFacts()
    attacks: list[AttackResult] = []
    risk: Risk | None = None
    divergence: list[Divergence] = []
    agreement: Agreement | None = None
    epsilon: list[Epsilon] = []
    claim: Claim | None = None
    defences: list[Layer] = []
    canary: CanaryFacts | None = None
    checks: list[Check] = []
    checked: list[Checked] = Field(
        default=[], description="every check that was made, those that passed too; empty where that was not recorded"
    )
    findings: list[Finding] = []
    cost: Cost = Cost()

    _records: list[RecordRow] = PrivateAttr(default_factory=list)

    @property
    def record_table(self) -> list[RecordRow]:
        """One row per audited record; only the run itself has it, a log read from a file does not."""
        return list(self._records)

    def with_records(self, rows: Sequence[RecordRow]) -> AuditLog:
        """Return this log with the per-record table attached."""
        copy = self.model_copy()
        copy._records = list(rows)
        return copy

    def records_csv(self) -> str:
        """Return the per-record table as CSV text, empty for a log read from a file."""
        return to_csv(self._records)

    @property
    def passed(self) -> bool:
        """Whether the audit completed, may be believed, and no rule of the gate failed."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """The process exit code that this log means: 130, 3, 4, 1 or 0, the first that applies."""
        if self.status == "interrupted":
            return 130
        if self.status != "complete":
            return 3
        if any(check.level == "error" for check in self.checks):
            return 4
        return int(any(not finding.passed for finding in self.findings))

    def attack(self, name: str) -> AttackResult:
        """Return the result with this label, or else the first with this name; raise UsageError when there is none."""
        for result in self.attacks:
            if result.title == name:
                return result
        for result in self.attacks:
            if result.name == name:
                return result
        have = ", ".join(r.title for r in self.attacks) or "none"
        raise UsageError(f"The audit has no attack called '{name}'; it has {have}.")

    def to_json(self, indent: int | None = 2) -> str:
        """Return the log as JSON text."""
        return self.model_dump_json(indent=indent)

    @classmethod
    def from_json(cls, text: str, source: str = "the text") -> AuditLog:
        """Read a log; raise DataError when it is not one."""
        try:
            return cls.model_validate_json(text)
        except ValueError as error:
            raise DataError(
                f"Expected {source} to be a {FORMAT} log of version {VERSION}, got something else: {_first(error)}.",
                hint="Give the audit.json that `vestige audit --out DIR` wrote.",
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> AuditLog:
        """Read a log from a file, or from the folder that holds its audit.json."""
        path = Path(path)
        file = path / "audit.json" if path.is_dir() else path
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = "it is not text" if isinstance(error, UnicodeDecodeError) else error.strerror or error
            raise DataError(
                f"Could not read an audit log from '{file}': {reason}.",
                hint="Give the audit.json that `vestige audit --out DIR` wrote, or its folder.",
            ) from error
        return cls.from_json(text, f"'{file}'")

    def save(self, path: str | Path) -> Path:
        """Write the log to a file, or as audit.json into a folder; the old file stays whole until the new one is."""
        from vestige.store import write_atomically

        path = Path(path)
        file = path / "audit.json" if path.is_dir() or not path.suffix else path
        write_atomically(file, self.to_json().encode())
        return file

    def render(self, format: str = "html") -> str:
        """Return the log as text in one of the formats: html, json, md, csv, sarif, junit, text, compliance(-md)."""
        if format not in FORMATS:
            raise UsageError(f"Expected a report format among {', '.join(FORMATS.names())}, got '{format}'.")
        text: str = FORMATS.get(format)(self)
        return text

    def report(self, path: str | Path, format: str | None = None) -> Path:
        """Write the log to ``path`` in a format, by default the one that the file's ending names; return the path."""
        path = Path(path)
        if format is None:
            format = SUFFIXES.get(path.suffix.lower())
            if format is None:
                known = ", ".join(SUFFIXES)
                raise UsageError(
                    f"Expected a report file ending in one of {known}, got '{path.name}'.", hint="Or give format=…."
                )
        from vestige.store import write_atomically

        write_atomically(path, self.render(format).encode())
        return path

    def summary(self) -> Text:
        """Return the terminal table as plain text; it ends in the verdict."""
        return Text(self.render("text"))

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas DataFrame, one row per attack, with ``_low`` and ``_high`` columns for intervals."""
        try:
            import pandas
        except ImportError as error:
            raise MissingDependency("pandas", extra="tables", purpose="AuditLog.to_frame") from error
        columns, rows = load("vestige.report.csv:table")(self)
        return pandas.DataFrame(rows, columns=columns).set_index("attack")

    def __repr__(self) -> str:
        ran = [r for r in self.attacks if r.status == "ok"]
        best = max(ran, key=lambda r: r.auc.low if r.auc.low is not None else r.auc.value or 0.0, default=None)
        facts = [self.status, f"{len(ran)} of {len(self.attacks)} attacks"]
        if best is not None and best.auc.value is not None:
            interval = (
                "" if best.auc.low is None or best.auc.high is None else f" [{best.auc.low:.3f}, {best.auc.high:.3f}]"
            )
            facts.append(f"highest AUC {best.auc.value:.3f}{interval} ({best.title})")
        if self.findings:
            facts.append(f"gate {'passed' if all(f.passed for f in self.findings) else 'failed'}")
        return f"<AuditLog {self.name}: {', '.join(facts)}>"

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        card: str = load("vestige.report.card:render")(self)
        return card


def _first(error: ValueError) -> str:
    """Return the first thing that validation found, without the library's own advice."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, found["loc"]))
    return f"{place}: {found['msg']}" if place else found["msg"]

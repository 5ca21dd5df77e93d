"""TradeoffLog: the one versioned file that a trade-off leaves, beside the log of each of its audits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from vestige.errors import DataError, MissingDependency, UsageError
from vestige.grid.results import SUFFIXES, GridResult
from vestige.log import TprPoint
from vestige.log_parts import Epsilon, Figure, Layer, Part
from vestige.registry import load
from vestige.tradeoff.parts import Claimed, Exposed, Planted, Trial, Utility, rate_at

if TYPE_CHECKING:
    import pandas

FILE = "tradeoff.json"
FORMATS = {
    "html": "vestige.report.tradeoff:render",
    "json": "vestige.tradeoff.results:TradeoffLog.to_json",
    "md": "vestige.report.tradeoff_text:markdown",
    "csv": "vestige.report.tradeoff_text:csv",
    "text": "vestige.report.tradeoff_text:text",
}


class TradeoffResult(GridResult):
    """One attack on one candidate.

    ``exposed``: its true-positive rates among the most exposed records, at the thresholds of all records; ``adaptive``:
    whether it is one that the candidate's own defences name as aimed at them, with the parameters that they name. All
    attacks are refitted on shadow models under the same defences.
    """

    exposed: list[TprPoint] = []
    adaptive: bool = False

    def at(self, fpr: float | None, *, exposed: bool = False) -> Figure:
        """Return the true-positive rate at a false-positive rate, an empty figure where there is none."""
        if self.status != "ok" or fpr is None:
            return Figure()
        return rate_at(self.exposed if exposed else self.tpr, fpr)


class TradeoffPoint(Part):
    """One candidate.

    ``status``: that of its audit, or why there is none: ``refused`` when such an audit cannot be, ``missing`` when the
    run was interrupted before it. ``guarantee``: none, or the weakest class of its defences (G1 to G4).
    ``accuracy_lost``: against no defence, on the same records, as a share; ``leakage``: the largest true-positive rate
    of all attacks at the trade-off's false-positive rate, with an interval that allows for their number; ``exposed``:
    the same among the most exposed records; ``canary``: among the canaries of ``planted``. ``seconds``: of one
    training; ``cost``: as a multiple of no defence's. ``labels_only``: whether its answers keep the scores back.
    """

    id: str
    method: str
    settings: dict[str, Any] = {}
    baseline: bool = False
    status: Literal["complete", "partial", "failed", "refused", "missing"]
    reason: str = ""
    log: str = ""
    kept: bool = Field(default=False, description="read from an earlier run of the same trade-off")
    members: int = 0
    nonmembers: int = 0
    targets: int = 1
    shadows: int = 0
    layers: list[Layer] = []
    guarantee: str = ""
    claim: Claimed | None = None
    epsilon: list[Epsilon] = []
    utility: Utility = Utility()
    accuracy_lost: Figure = Figure()
    leakage: Figure = Figure()
    attack: str = ""
    most_exposed: Exposed = Exposed()
    exposed: Figure = Figure()
    exposed_attack: str = ""
    planted: Planted | None = None
    canary: Figure = Figure()
    labels_only: bool = False
    seconds: float | None = None
    cost: float | None = None
    run_seconds: float = 0.0
    results: list[TradeoffResult] = []
    trials: list[Trial] = []
    tuned: dict[str, Any] = {}
    doubts: list[str] = []
    on_front: bool = False
    dominated_by: list[str] = []

    @property
    def placed(self) -> bool:
        """Whether it has a place on the page: an accuracy and a leakage."""
        return self.utility.accuracy.value is not None and self.leakage.value is not None

    @property
    def whole(self) -> bool:
        """Whether every attack that can run here did, and its audit does not doubt itself."""
        return self.status == "complete" and not self.doubts and not any(r.status == "failed" for r in self.results)


class Volume(Part):
    """The share of the page, from chance accuracy and full leakage on, that lies behind a method's candidates."""

    method: str
    value: float


class Advice(Part):
    """An answer to one question: ``question`` leak or lose, its ``limit`` as a share; ``choice``: a candidate's id.

    ``sure``: whether the limit holds at the end of the interval too, widened for the number of candidates to choose
    from, and not only for the figure itself. ``perhaps``: where one is sure, the candidate that would be chosen by the
    figures alone, if that is another one.
    """

    question: Literal["leak", "lose"]
    limit: float
    choice: str = ""
    sure: bool = False
    perhaps: str = ""


class TradeoffLog(Part):
    """A whole trade-off. Read it with `TradeoffLog.load`, write it with `save`, render it with `report`.

    ``fpr``: the false-positive rate that leakage is taken at, None when no audit resolved any; ``floor``: the smallest
    true-positive rate that the records can show; ``chance``: the accuracy of always naming the most frequent class.
    """

    format: Literal["vestige.tradeoff"] = "vestige.tradeoff"
    version: Literal[1] = 1
    status: Literal["complete", "partial", "interrupted"] = "complete"
    name: str = "tradeoff"
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    config: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    fpr: float | None = None
    floor: float = 0.01
    chance: float = 0.0
    confidence: float = 0.95
    points: list[TradeoffPoint] = []
    hypervolume: list[Volume] = []
    advice: list[Advice] = []
    seconds: float = 0.0

    def point(self, id: str) -> TradeoffPoint:
        """Return the candidate with this id; raises UsageError when there is none."""
        for point in self.points:
            if point.id == id:
                return point
        raise UsageError(f"The trade-off has no candidate '{id}'.")

    @property
    def exit_code(self) -> int:
        """130 when interrupted, 3 when an audit or attack failed, 4 when one is not to be trusted, else 0.

        That a defence cannot be had for such a recipe is a finding, and no failure.
        """
        if self.status == "interrupted":
            return 130
        if self.status == "partial":
            return 3
        return 4 if any(point.doubts for point in self.points) else 0

    def to_json(self, indent: int | None = 2) -> str:
        """Return the trade-off as JSON text."""
        return self.model_dump_json(indent=indent)

    @classmethod
    def load(cls, path: str | Path) -> TradeoffLog:
        """Read a trade-off from a file, or from the folder that holds its tradeoff.json; raises DataError."""
        path = Path(path)
        file = path / FILE if path.is_dir() else path
        hint = "Give the tradeoff.json that `vestige tradeoff --out DIR` wrote, or its folder."
        try:
            return cls.model_validate_json(file.read_text("utf-8"))
        except OSError as error:
            raise DataError(
                f"Could not read a trade-off from '{file}': {error.strerror or error}.", hint=hint
            ) from error
        except (ValidationError, UnicodeDecodeError) as error:
            raise DataError(f"Expected '{file}' to be a vestige.tradeoff log of version 1.", hint=hint) from error

    def save(self, path: str | Path) -> Path:
        """Write it to a file, or as tradeoff.json into a folder; the old file stays whole until the new one is."""
        from vestige.store import write_atomically

        path = Path(path)
        file = path / FILE if path.is_dir() or not path.suffix else path
        write_atomically(file, self.to_json().encode())
        return file

    def render(self, format: str = "html") -> str:
        """Return it as text in one of the formats: html, json, md, csv or text."""
        if format not in FORMATS:
            raise UsageError(f"A trade-off has the formats {', '.join(FORMATS)}, got '{format}'.")
        text: str = load(FORMATS[format])(self)
        return text

    def report(self, path: str | Path, format: str | None = None) -> Path:
        """Write it to ``path`` in a format, by default the one that the file's ending names; return the path."""
        from vestige.store import write_atomically

        path = Path(path)
        format = format or SUFFIXES.get(path.suffix.lower())
        if format is None:
            raise UsageError(f"Expected a file ending in one of {', '.join(SUFFIXES)}, got '{path.name}'.")
        write_atomically(path, self.render(format).encode())
        return path

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas DataFrame, one row per candidate."""
        try:
            import pandas
        except ImportError as error:
            raise MissingDependency("pandas", extra="tables", purpose="TradeoffLog.to_frame") from error
        columns, rows = load("vestige.report.tradeoff_text:table")(self)
        return pandas.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        front = sum(point.on_front for point in self.points)
        ran = sum(point.status in ("complete", "partial") for point in self.points)
        told = f"{ran} of {len(self.points)} candidates ran, {front} on the front"
        return f"<TradeoffLog {self.name}: {self.status}, {told}>"

    def __str__(self) -> str:
        return repr(self)

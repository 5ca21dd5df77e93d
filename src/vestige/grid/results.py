"""GridLog: the one versioned file that a grid leaves, beside the log of each of its cells."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from vestige.errors import DataError, MissingDependency, UsageError
from vestige.log import AttackResult, AuditLog, TprPoint
from vestige.log_parts import Divergence, Figure, Part
from vestige.registry import load

if TYPE_CHECKING:
    import pandas

FILE = "grid.json"
FORMATS = {
    "html": "vestige.report.grid:render",
    "json": "vestige.grid.results:GridLog.to_json",
    "md": "vestige.report.grid_text:markdown",
    "csv": "vestige.report.grid_text:csv",
    "text": "vestige.report.grid_text:text",
}
SUFFIXES = {".html": "html", ".htm": "html", ".json": "json", ".md": "md", ".csv": "csv", ".txt": "text"}


class GridResult(Part):
    """One attack in one cell."""

    attack: str
    name: str
    params: dict[str, Any] = {}
    status: Literal["ok", "failed", "skipped"] = "ok"
    reason: str = ""
    auc: Figure = Figure()
    tpr: list[TprPoint] = []
    queries_per_record: int = 0
    shadow_models: int = 0

    @classmethod
    def of(cls, result: AttackResult) -> GridResult:
        """Return what a grid keeps of an audit's result."""
        return cls(
            attack=result.title,
            name=result.name,
            params=result.params,
            status=result.status,
            reason=result.reason,
            auc=result.auc,
            tpr=result.tpr,
            queries_per_record=result.queries_per_record if result.status == "ok" else 0,
            shadow_models=result.shadow_models,
        )


class GridCell(Part):
    """One audit of the grid.

    ``place``: axis by axis, what sets it apart; ``status``: that of its audit, or why there is none: ``refused`` when
    such an audit cannot be, ``missing`` when the run was interrupted before it; ``log``: where its own log is, seen
    from the grid's folder; ``target``: equal for cells that attack one model; ``doubts``: its error-level checks.
    """

    id: str
    place: dict[str, str]
    status: Literal["complete", "partial", "failed", "refused", "missing"]
    reason: str = ""
    log: str = ""
    target: str = ""
    guessed: dict[str, Any] = {}
    results: list[GridResult] = []
    divergence: list[Divergence] = []
    trained: int = 0
    reused: int = 0
    seconds: float = 0.0
    kept: bool = Field(default=False, description="read from an earlier run of the same grid")
    doubts: list[str] = []
    failed_rules: list[str] = []


class Correlation(Part):
    """How an attack's AUC goes with the divergence of a signal, over the grid's targets: one point per target."""

    signal: str
    attack: str
    targets: int
    pearson: Figure = Figure()
    spearman: float | None = None


class GridLog(Part):
    """A whole grid. Read it with `GridLog.load`, write it with `save`, render it with `report`."""

    format: Literal["vestige.grid"] = "vestige.grid"
    version: Literal[1] = 1
    status: Literal["complete", "partial", "interrupted"] = "complete"
    name: str = "grid"
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    config: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    axes: dict[str, list[str]] = {}
    fpr: list[float] = []
    cells: list[GridCell] = []
    correlations: list[Correlation] = []
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """130 when interrupted, 3 when an audit or attack failed, 4 when one is not to be trusted, 1 for the gate, 0.

        That an attack or an adversary is impossible in some cells is what a grid is there to show, and no failure.
        """
        if self.status == "interrupted":
            return 130
        if self.status == "partial":
            return 3
        if any(cell.doubts for cell in self.cells):
            return 4
        return int(any(cell.failed_rules for cell in self.cells))

    def to_json(self, indent: int | None = 2) -> str:
        """Return the grid as JSON text."""
        return self.model_dump_json(indent=indent)

    @classmethod
    def load(cls, path: str | Path) -> GridLog:
        """Read a grid from a file, or from the folder that holds its grid.json; raises DataError."""
        path = Path(path)
        file = path / FILE if path.is_dir() else path
        hint = "Give the grid.json that `vestige audit --grid --out DIR` wrote, or its folder."
        try:
            return cls.model_validate_json(file.read_text("utf-8"))
        except OSError as error:
            raise DataError(f"Could not read a grid from '{file}': {error.strerror or error}.", hint=hint) from error
        except (ValidationError, UnicodeDecodeError) as error:
            raise DataError(f"Expected '{file}' to be a vestige.grid log of version 1.", hint=hint) from error

    def save(self, path: str | Path) -> Path:
        """Write the grid to a file, or as grid.json into a folder; the old file stays whole until the new one is."""
        from vestige.store import write_atomically

        path = Path(path)
        file = path / FILE if path.is_dir() or not path.suffix else path
        write_atomically(file, self.to_json().encode())
        return file

    def render(self, format: str = "html") -> str:
        """Return the grid as text in one of the formats: html, json, md, csv or text."""
        if format not in FORMATS:
            raise UsageError(f"Expected a grid's format among {', '.join(FORMATS)}, got '{format}'.")
        text: str = load(FORMATS[format])(self)
        return text

    def report(self, path: str | Path, format: str | None = None) -> Path:
        """Write the grid to ``path`` in a format, by default the one that the file's ending names; return the path."""
        from vestige.store import write_atomically

        path = Path(path)
        format = format or SUFFIXES.get(path.suffix.lower())
        if format is None:
            raise UsageError(f"Expected a file ending in one of {', '.join(SUFFIXES)}, got '{path.name}'.")
        write_atomically(path, self.render(format).encode())
        return path

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas DataFrame, one row per attack and cell."""
        try:
            import pandas
        except ImportError as error:
            raise MissingDependency("pandas", extra="tables", purpose="GridLog.to_frame") from error
        columns, rows = load("vestige.report.grid_text:table")(self)
        return pandas.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        ran = sum(cell.status in ("complete", "partial") for cell in self.cells)
        return f"<GridLog {self.name}: {self.status}, {ran} of {len(self.cells)} audits ran>"

    def __str__(self) -> str:
        return repr(self)


def cell_of(
    id: str, place: dict[str, str], log: AuditLog, *, where: str, kept: bool, failed_rules: list[str]
) -> GridCell:
    """Return what a grid keeps of a finished audit."""
    status: Literal["complete", "partial", "failed"] = "failed"
    if log.status in ("complete", "partial"):
        failed = any(result.status == "failed" for result in log.attacks)
        status = "partial" if failed else "complete"
    elif log.status == "failed" and log.attacks and all(result.status == "skipped" for result in log.attacks):
        status = "complete"  # nothing can run here, and each attack says why
    return GridCell(
        id=id,
        place=place,
        status=status,
        log=where,
        target=f"{log.population.fingerprint}:{log.target.recipe}",
        guessed=log.shadow.guessed,
        results=[GridResult.of(result) for result in log.attacks],
        divergence=log.divergence,
        trained=0 if kept else log.shadow.trained,
        reused=log.shadow.count if kept else log.shadow.reused,
        seconds=0.0 if kept else log.cost.seconds.total,
        kept=kept,
        doubts=[check.id for check in log.checks if check.level == "error"],
        failed_rules=failed_rules,
    )

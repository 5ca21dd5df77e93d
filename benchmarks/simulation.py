"""Simulated audits by the thousand: what each method said, how often it exceeded the truth, and what it took."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bounds import BY_TITLE, METHODS, Audit, Method
from mechanisms import ASKED, BLOCK, DELTA, EXTRA, MECHANISMS, PURE, audits
from vestige.metrics.epsilon import Coins
from vestige.seeds import seed_for

ERROR = 0.05
TOLERANCE = 1e-6
BLOCKS_A_TURN = 5
CONFIRMATION = 5


@dataclass(frozen=True)
class Cell:
    """A mechanism, a number of canaries and a δ, audited so many times."""

    mechanism: str
    canaries: int
    delta: float
    audits: int

    @property
    def truth(self) -> float:
        """The mechanism's own ε."""
        return MECHANISMS[self.mechanism].epsilon(self.delta)

    @property
    def blocks(self) -> int:
        """How many seeds that takes."""
        return math.ceil(self.audits / BLOCK)

    def seeds(self, seed: int, purpose: str = "audits") -> list[int]:
        """Return the seed of each block; every δ sees the same audits."""
        return [seed_for(seed, purpose, self.mechanism, self.canaries, block) for block in range(self.blocks)]


@dataclass
class Tally:
    """What a method said in the audits of a cell."""

    values: list[float] = field(default_factory=list)
    ceilings: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    crashes: int = 0
    first_crash: str = ""

    def add(self, other: Tally) -> None:
        """Take in what another part of the same cell said."""
        self.values += other.values
        self.ceilings += other.ceilings
        self.seconds += other.seconds
        self.refused += other.refused
        self.crashes += other.crashes
        self.first_crash = self.first_crash or other.first_crash


def cells(count: int, records: Sequence[int]) -> list[Cell]:
    """Return the main cells at δ = 1e-5, and at 0 for pure mechanisms; then others, with a quarter of the audits."""
    asked = [(mechanism.name, DELTA, count) for mechanism in ASKED] + [(each.name, 0.0, count) for each in PURE]
    extra = [(each.name, each.at, max(count // 4, 1)) for each in EXTRA]
    return [Cell(name, size, delta, number) for name, delta, number in asked + extra for size in records]


def turn(cell: Cell, titles: Sequence[str], seeds: Sequence[int], first: int) -> dict[str, Tally]:
    """Run the audits of some blocks, the first of which is audit ``first`` of its cell."""
    mechanism = MECHANISMS[cell.mechanism]
    tallies = {title: Tally() for title in titles}
    for number, (scores, included) in enumerate(audits(mechanism, cell.canaries, seeds), start=first):
        if number >= cell.audits:
            break
        audit = Audit(Coins(scores=scores, included=included), mechanism, cell.delta)
        for title, tally in tallies.items():
            method = BY_TITLE[title]
            if number < math.ceil(method.share * cell.audits):
                _ask(method, audit, tally, due=method.applies(mechanism, cell.delta))
    return tallies


def _ask(method: Method, audit: Audit, tally: Tally, *, due: bool) -> None:
    start = time.process_time()
    try:
        found = method(audit)
    except Exception as error:  # whatever it raises is what is being counted
        tally.crashes += 1
        tally.first_crash = tally.first_crash or f"{type(error).__name__}: {error}"
        return
    tally.seconds.append(time.process_time() - start)
    if found.value is None:
        tally.refused += 1
        return
    if not due or not math.isfinite(found.value):
        tally.crashes += 1
        tally.first_crash = tally.first_crash or ("did not refuse" if not due else f"a value of {found.value}")
        return
    tally.values.append(found.value)
    tally.ceilings.append(math.nan if found.ceiling is None else found.ceiling)


def submit(
    pool: Executor, cell: Cell, titles: Sequence[str], seed: int, purpose: str = "audits"
) -> list[Future[dict[str, Tally]]]:
    """Hand a cell's audits to a pool, in turns of a few blocks."""
    seeds = cell.seeds(seed, purpose)
    return [
        pool.submit(turn, cell, tuple(titles), seeds[start : start + BLOCKS_A_TURN], start * BLOCK)
        for start in range(0, len(seeds), BLOCKS_A_TURN)
    ]


def gathered(turns: Iterable[Future[dict[str, Tally]]]) -> dict[str, Tally]:
    """Return the tallies of a cell once all its turns are done."""
    whole: dict[str, Tally] = {}
    for each in turns:
        for title, tally in each.result().items():
            whole.setdefault(title, Tally()).add(tally)
    return whole


def row(cell: Cell, title: str, tally: Tally) -> dict[str, Any]:
    """Return a method's figures in a cell, ready for JSON."""
    method, mechanism = BY_TITLE[title], MECHANISMS[cell.mechanism]
    truth = 0.5 if method.kind == "test" else cell.truth
    values, due = np.array(tally.values), method.applies(mechanism, cell.delta)
    count = len(values)
    exceeded = int(np.sum(values > truth + TOLERANCE)) if math.isfinite(truth) else None
    median = float(np.mean(tally.ceilings) if method.kind == "test" else np.median(values)) if count else None
    return {
        "tool": "Vestige",
        "method": title,
        "kind": method.kind,
        **{key: value for key, value in asdict(cell).items() if key != "audits"},
        "truth": cell.truth if math.isfinite(cell.truth) else None,
        "due": due,
        "audits": count,
        "refused": tally.refused,
        "crashes": tally.crashes + (tally.refused if due else 0),
        "first_crash": tally.first_crash or ("refused" if due and tally.refused else ""),
        "exceeded": exceeded,
        "median": median,
        "ceiling": float(np.median(tally.ceilings)) if count and method.kind != "test" else None,
        "seconds": float(np.median(tally.seconds)) if tally.seconds else None,
    }


def share_of(found: dict[str, Any]) -> float | None:
    """Return the share of audits in which a row's method exceeded the truth."""
    return found["exceeded"] / found["audits"] if found["audits"] and found["exceeded"] is not None else None


def error_of(found: dict[str, Any]) -> float:
    """Return the standard error of the share that a method of exactly the permitted error would have."""
    return math.sqrt(ERROR * (1 - ERROR) / found["audits"])


def holds(found: dict[str, Any]) -> bool:
    """Whether a row's share of excesses is at most the permitted error plus two standard errors."""
    share = share_of(found)
    return share is None or share <= ERROR + 2 * error_of(found)


def titles(cell: Cell, only: Sequence[str]) -> list[str]:
    """Return the methods to try in a cell: those whose title contains one of the words, or all."""
    fit = [each for each in METHODS if each.coupled or not MECHANISMS[cell.mechanism].coupled]
    return [each.title for each in fit if not only or any(word in each.title for word in only)]

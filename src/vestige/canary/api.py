"""`vestige.canary.audit`: one call from a way to train and some records to a log with a bound on ε."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vestige.backends.coerce import default_recipe
from vestige.backends.function import FunctionRecipe
from vestige.canary.design import Design, Kind, Scorer
from vestige.canary.forecast import CanaryPlan
from vestige.canary.run import CanaryAudit
from vestige.canary.training import Labour
from vestige.errors import UsageError
from vestige.log import AuditLog
from vestige.privacy_claim import PrivacyClaim
from vestige.progress import Progress
from vestige.records import Records
from vestige.store import Store
from vestige.target import Access, Recipe


def audit(
    recipe: Any,
    records: Any,
    *,
    canaries: Kind = "natural",
    count: int = 1000,
    runs: int = 1,
    copies: int | None = None,
    claim: PrivacyClaim | None = None,
    score: str | Scorer = "loss",
    access: str | Access | None = None,
    references: int = 0,
    delta: float | None = None,
    confidence: float = 0.95,
    methods: str | Sequence[str] | None = None,
    seed: int = 0,
    store: str | Path | None = None,
    executor: str = "inline",
    workers: int = 2,
    fpr: Sequence[float] = (0.01,),
    name: str = "canary",
    progress: Progress | None = None,
) -> AuditLog:
    """Train on coin flips, guess them, and return a log with lower bounds on ε next to what is claimed.

    ``recipe``: a recipe, an estimator with scikit-learn's interface (trained or not), or a function ``train(x, y, seed)
    -> model``. ``records``: Records, or a pair (x, y). ``canaries``: natural, mislabelled, out_of_distribution,
    duplicated, blank or gradient; ``count`` of them in each of ``runs`` trainings, ``copies`` of each. ``score``: a
    signal's name, ``gradient`` (torch), or ``score(target, canaries) -> one number per canary, larger = more likely
    trained on``. ``references``: further models, with other coins, to calibrate scores on. ``claim``: the log's gate
    fails when a judged bound exceeds its ε. ``methods``: see `vestige.canary.bounds.METHODS`; the first is quoted, all
    are judged and hold together with ``confidence``. Raises DataError, ModelError or UsageError in one sentence.
    """
    design = _design(canaries, count, runs, copies, claim, score, access, references, delta, confidence, methods, seed)
    labour = Labour(store=Store.default(store), executor=executor, workers=workers)
    made = CanaryAudit(
        recipe=as_recipe(recipe),
        records=as_records(records),
        design=design,
        labour=labour,
        fpr=tuple(fpr),
        name=name,
    )
    return made.run(progress)


def plan(
    recipe: Any,
    records: Any,
    *,
    canaries: Kind = "natural",
    count: int = 1000,
    runs: int = 1,
    copies: int | None = None,
    claim: PrivacyClaim | None = None,
    score: str | Scorer = "loss",
    access: str | Access | None = None,
    references: int = 0,
    delta: float | None = None,
    confidence: float = 0.95,
    methods: str | Sequence[str] | None = None,
    seed: int = 0,
    store: str | Path | None = None,
) -> CanaryPlan:
    """Return what `audit` would train with the same arguments and what it could show, without training anything."""
    design = _design(canaries, count, runs, copies, claim, score, access, references, delta, confidence, methods, seed)
    labour = Labour(store=Store.default(store))
    return CanaryAudit(recipe=as_recipe(recipe), records=as_records(records), design=design, labour=labour).plan()


def as_recipe(given: Any) -> Recipe:
    """Return how models are trained: a recipe itself, an estimator's clones, a function; UsageError for others."""
    if isinstance(given, type):
        raise UsageError(f"Expected a recipe, got the class {given.__name__}.", hint="Pass an instance.")
    if isinstance(given, Recipe):
        return given
    if hasattr(given, "get_params") and hasattr(given, "fit"):
        return default_recipe(given)
    if callable(given) and not hasattr(given, "parameters"):
        return FunctionRecipe(given)
    raise UsageError(
        f"Expected a recipe, which says how models are trained, got a {type(given).__name__}.",
        hint="Pass an estimator, vestige.TorchRecipe(…), or a function train(x, y, seed) -> model.",
    )


def as_records(given: Any) -> Records:
    """Return records as they are, or made of a pair (x, y)."""
    if isinstance(given, Records):
        return given
    if isinstance(given, tuple) and len(given) == 2:
        return Records.build(*given)
    raise UsageError(
        f"Expected records, or a pair (features, labels), got a {type(given).__name__}.",
        hint="Build them with vestige.Records.build(x, y).",
    )


def _design(
    kind: Kind,
    count: int,
    runs: int,
    copies: int | None,
    claim: PrivacyClaim | None,
    score: str | Scorer,
    access: str | Access | None,
    references: int,
    delta: float | None,
    confidence: float,
    methods: str | Sequence[str] | None,
    seed: int,
) -> Design:
    return Design(
        kind=kind,
        count=count,
        runs=runs,
        copies=copies,
        claim=claim,
        score=score,
        access=None if access is None else Access.parse(access),
        references=references,
        delta=delta,
        confidence=confidence,
        methods=(methods,) if isinstance(methods, str) else tuple(methods or ()),
        seed=seed,
    )

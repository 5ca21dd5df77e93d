"""From one finished audit to its candidate: what of it the trade-off keeps."""

from __future__ import annotations

from vestige.auditing.results import Outcome
from vestige.defend.layers import Layers
from vestige.grid.results import GridResult, cell_of
from vestige.log import AuditLog, TprPoint
from vestige.target import Access
from vestige.tradeoff.charge import claimed
from vestige.tradeoff.parts import Exposed, Planted
from vestige.tradeoff.results import TradeoffPoint, TradeoffResult
from vestige.tradeoff.tuning import Tuning
from vestige.tradeoff.utility import utility_of


def point_of(
    made: TradeoffPoint,
    outcome: Outcome,
    log: AuditLog,
    *,
    layers: Layers,
    tuning: Tuning,
    trials: int,
    exposed: tuple[Exposed, dict[str, list[TprPoint]]],
    planted: Planted | None,
    seconds: float | None,
    where: str,
    took: float,
) -> TradeoffPoint:
    """Return the candidate with everything that its audit found; what follows from the others is not in it yet."""
    cell = cell_of(made.id, {}, log, where=where, kept=False, failed_rules=[])
    most, rates = exposed
    results = [
        TradeoffResult(
            **dict(GridResult.of(result)),
            exposed=rates.get(result.title, []),
            adaptive=any(result.goes_by(named) for named in layers.adaptive),
        )
        for result in log.attacks
    ]
    # Whoever has the weights is past what is answered, and past what is promised of answers.
    faced = [layer for layer in log.defences if layer.stage == "training" or outcome.audit.faced.answers]
    guarantees = [layer.guarantee for layer in faced]
    return made.model_copy(
        update={
            "status": cell.status,
            "reason": "",
            "log": where,
            "members": log.population.members,
            "nonmembers": log.population.nonmembers,
            "targets": outcome.audit.config.audit.targets,
            "shadows": log.shadow.count,
            "layers": log.defences,
            "guarantee": log.claim.guarantee if log.claim is not None else max(guarantees, default=""),
            "claim": claimed(faced, trials=trials, tuned=bool(tuning.values), alike=tuning.alike),
            "epsilon": [one for one in log.epsilon if one.judged],
            "utility": utility_of(outcome),
            "most_exposed": most,
            "planted": planted,
            "labels_only": outcome.audit.access == Access.LABEL,
            "seconds": seconds,
            "run_seconds": round(took, 3),
            "results": results,
            "doubts": [*cell.doubts, *_refuted(planted)],
        }
    )


def _refuted(planted: Planted | None) -> list[str]:
    if planted is None or planted.epsilon is None or planted.claimed is None or planted.epsilon <= planted.claimed:
        return []
    shown = f"canaries show ε ≥ {planted.epsilon:.3g} ({planted.method})"
    return [f"{shown}, and ε = {planted.claimed:.3g} is claimed of such a training"]

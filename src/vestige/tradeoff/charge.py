"""What choosing the settings of a private training costs: the trials read the same records as the training itself."""

from __future__ import annotations

from typing import Any

from vestige.errors import MissingDependency, VestigeError
from vestige.log_parts import Layer
from vestige.privacy_claim import FORMAL
from vestige.tradeoff.parts import Claimed

GEOMETRIC = 1.0
"""The shape of the number of trials for which selection is cheapest among those that are easily drawn."""


def claimed(layers: list[Layer], *, trials: int, tuned: bool, alike: bool) -> Claimed | None:
    """Return what the defences of an audit prove; None where they prove nothing.

    ``trials``: the mean of the geometric number of settings that were tried, when any were (``tuned``); ``alike``:
    whether all of them cost the same.
    """
    own = next((layer.claim for layer in layers if layer.claim is not None), None)
    if own is None:
        return None
    made = Claimed(
        epsilon=own["epsilon"],
        delta=own["delta"],
        guarantee=own["guarantee"],
        accountant=own.get("accountant", ""),
        assumptions=list(own.get("assumptions", ())),
        excludes=list(own.get("excludes", ())),
    )
    if not tuned:
        return made.model_copy(update={"why": "nothing was tuned"})
    if made.guarantee not in FORMAL:
        return made.model_copy(update={"why": "nothing is promised that tuning could spend"})
    if not alike:
        why = "the settings that were tried have different budgets, and no accountant here counts a choice among those"
        return made.model_copy(update={"why": why})
    try:
        return made.model_copy(update={"tuned": charged(own, trials)})
    except (VestigeError, MissingDependency, ValueError, NotImplementedError) as error:
        return made.model_copy(update={"why": f"the choice could not be accounted for: {error}"})


def charged(claim: dict[str, Any], trials: int) -> float:
    """Return ε of choosing the best of a geometric number of trials, ``trials`` on average, and training once more.

    Rényi accounting of a repeated mechanism: Papernot & Steinke 2022, "Hyperparameter Tuning with Renyi Differential
    Privacy", ICLR, theorem 2. Raises DataError for a claim without a ledger that can be accounted for.
    """
    from vestige.defend.private.accounting import Account
    from vestige.defend.private.ledger import composed, library
    from vestige.errors import DataError

    if not claim.get("ledger"):
        raise DataError("The claim has no ledger of what was released.")
    event, events = composed(claim["ledger"]), library()
    chosen = events.dp_event.RepeatAndSelectDpEvent(event, float(max(trials, 1)), GEOMETRIC)
    both = events.ComposedDpEvent([chosen, event])
    return Account(both, claim.get("adjacency", "add_remove")).renyi(claim["delta"])

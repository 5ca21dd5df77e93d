"""What an adversary must have besides the target, and how often it asks: read off what an attack and its signals say.

A signal that asks more than one question about a record says how many in ``asks``, and one that takes more than the
records and the target says what in ``knows``; an attack may add to either with an attribute of the same name.
"""

from __future__ import annotations

from typing import Any

from vestige.attacks.base import Attack, Needs
from vestige.signals import create as signal_of
from vestige.signals.base import Probe

ONCE = "1"
SIDES = {"out": "OUT", "both": "IN and OUT"}
HELD_OUT = "held-out records"


def knowledge_of(attack: Attack) -> tuple[str, ...]:
    """Return what the adversary has besides the access, such as shadow models, held-out records or the recipe.

    >>> from vestige.attacks.lira import LiRA
    >>> knowledge_of(LiRA())
    ('2 or more shadow models, IN and OUT',)
    """
    needs = attack.needs
    population = HELD_OUT if needs.population else ""
    if getattr(attack, "population_or_references", False):
        found = [f"{HELD_OUT}, or {SIDES.get(needs.side, 'IN and OUT')} shadow models"]
    else:
        found = [part for part in (_shadows(needs), population) if part]
    if needs.prior:
        found.append("a prior probability of membership")
    if needs.features:
        found.append("the records' features")
    for owner in (attack, *(signal_of(key) for key in needs.signals)):
        found += getattr(owner, "knows", ())
    return tuple(dict.fromkeys(found))


def queries_of(attack: Attack) -> str:
    """Return how many answers of the target a record takes; an audit's augmented queries come on top.

    >>> from vestige.attacks.noise import Noise
    >>> queries_of(Noise(queries=50))
    'budget, default 51'
    """
    own: Any = getattr(attack, "asks", "")
    if own:
        return str(own)
    chosen: int | None = getattr(attack, "queries", None)
    if chosen is not None:
        return f"budget, default {chosen + int(getattr(attack, 'extra_queries', 0)):,}"
    signals = [signal_of(key) for key in attack.needs.signals]
    asked = [getattr(signal, "asks", ONCE) for signal in signals if isinstance(signal, Probe)]
    plain = len(asked) < len(signals)
    return " + ".join(dict.fromkeys([*([ONCE] if plain else []), *asked])) or "0"


def _shadows(needs: Needs) -> str:
    if needs.side == "none":
        return ""
    few, many = max(1, needs.shadows), needs.wants
    count = f"{few} or more" if many is None else f"{few} to {many}" if many > few else f"{few}"
    return f"{count} shadow model{'' if count == '1' else 's'}, {SIDES[needs.side]}"

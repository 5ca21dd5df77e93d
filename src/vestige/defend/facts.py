"""What is known of a defence before it is used: where it acts, what it guarantees, what aims at it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from vestige.defend import DEFENCES
from vestige.defend.base import Trait

STAGES = {"training": "changes how a model is trained", "answers": "changes what a trained model answers"}
TRAITS = {
    Trait.COUPLES_RECORDS: "couples records",
    Trait.CLIPS_RECORDS: "clips records",
    Trait.REPLACES_TRAINING: "replaces the training",
    Trait.READS_MEMBERS_AT_SERVING: "reads members at serving",
    Trait.KEEPS_LABEL: "keeps the label",
}


@dataclass(frozen=True, kw_only=True)
class DefenceFacts:
    """A defence by its name, with default parameters; a parameter without a default is None."""

    name: str
    stage: str
    guarantee: str
    traits: tuple[str, ...]
    reserve: bool
    adaptive: tuple[str, ...]
    description: str
    paper: str
    params: dict[str, Any]


def facts(name: str) -> DefenceFacts:
    """Return the facts about the defence called ``name``; raises UsageError for an unknown one."""
    kind: Any = DEFENCES.get(name)
    return DefenceFacts(
        name=name,
        stage="training" if hasattr(kind, "wrap") else "answers",
        guarantee=str(kind.guarantee),
        traits=tuple(words for trait, words in TRAITS.items() if trait in kind.traits),
        reserve=bool(kind.reserve),
        adaptive=tuple(dict.fromkeys(one if isinstance(one, str) else str(one["name"]) for one in kind.adaptive)),
        description=" ".join((kind.__doc__ or "").split("\n\n")[0].split()),
        paper=str(kind.paper),
        params={field.name: _default(field) for field in dataclasses.fields(kind) if field.init},
    )


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None

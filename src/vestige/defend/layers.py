"""Layers: defences in order, what may stand on what, and the one claim that is true of them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from vestige.defend.base import AnswerDefence, Defence, Named, Stage, TrainingDefence, Trait
from vestige.errors import ConfigError
from vestige.privacy_claim import FORMAL, PrivacyClaim
from vestige.target import Access, Recipe


@dataclass(frozen=True)
class Layers:
    """A chain of defences with their names, as a config lists them: training ones first wrap the recipe, in order, then
    answer ones the model.

    Answers are changed in one order: temperature, noise, reshaping (memguard, rank_release), truncation, rounding, and
    labels last. Raises ConfigError for a chain in which one layer voids what another promises.
    """

    named: tuple[tuple[str, Defence], ...] = ()
    training: tuple[TrainingDefence, ...] = field(init=False)
    answers: tuple[AnswerDefence, ...] = field(init=False)

    def __post_init__(self) -> None:
        training: list[TrainingDefence] = []
        answers: list[AnswerDefence] = []
        for name, defence in self.named:
            if isinstance(defence, TrainingDefence):
                if answers:
                    raise ConfigError(
                        f"[[defences]]: '{name}' changes the training and comes after one that changes the answers.",
                        hint="List training-time defences first.",
                    )
                training.append(defence)
            elif isinstance(defence, AnswerDefence):
                answers.append(defence)
            else:
                raise ConfigError(f"[[defences]]: '{name}' is neither a training defence nor an answer defence.")
        object.__setattr__(self, "training", tuple(training))
        object.__setattr__(self, "answers", tuple(answers))
        for reason in conflicts(self.named):
            raise ConfigError(f"[[defences]]: {reason}")

    def __bool__(self) -> bool:
        return bool(self.named)

    @property
    def reserve(self) -> bool:
        """Whether a layer needs records of the defender's own."""
        return any(defence.reserve for _, defence in self.named)

    @property
    def adaptive(self) -> list[Named]:
        """The attacks that aim at these layers, each once."""
        found: list[Named] = []
        for _, defence in self.named:
            found += [attack for attack in defence.adaptive if attack not in found]
        return found

    @property
    def keeps_label(self) -> bool:
        """Whether no answer layer ever changes the predicted class."""
        return all(Trait.KEEPS_LABEL in defence.traits for defence in self.answers)

    def shows(self, access: Access) -> Access:
        """Return what the layers leave of an access level."""
        return left_of(access, self.answers)

    def facing(self, access: Access) -> Layers:
        """Return the layers that stand in an adversary's way: whoever has the weights asks no one for answers."""
        if access < Access.WHITE_BOX or not self.answers:
            return self
        return Layers(tuple((name, defence) for name, defence in self.named if defence in self.training))

    def claim(self, recipe: Recipe, members: int, answers: int | None = None) -> PrivacyClaim | None:
        """Return the claim that is true of the whole chain, or None when nothing is proven.

        One formal layer carries the claim, and every other adds what it takes for granted (its ``assumes``). What a
        chain that stands does to the model's answers is post-processing: `conflicts` refuses any other.
        """
        weights = [c for d in self.training if (c := d.claim(recipe, members)) is not None and c.guarantee in FORMAL]
        served = [c for d in self.answers if (c := d.claim(answers)) is not None and c.guarantee in FORMAL]
        if not weights and not served:
            return None
        claim = (weights + served)[0]
        assumed = [text for _, d in self.named for text in getattr(d, "assumes", ()) if text not in claim.assumptions]
        return replace(claim, assumptions=(*claim.assumptions, *assumed)) if assumed else claim


def left_of(access: Access, answers: Sequence[AnswerDefence]) -> Access:
    """Return what these defences leave of an access level; whoever has the weights needs no answers."""
    if access > Access.SCORE:
        return access
    for defence in answers:
        access = min(access, defence.shows(access))
    return access


def conflicts(named: Sequence[tuple[str, Defence]]) -> list[str]:
    """Return, in sentences, why these layers cannot stand together; an empty list when they can."""
    found = []
    having = {trait: [name for name, d in named if trait in d.traits] for trait in Trait}
    clipping, coupling = having[Trait.CLIPS_RECORDS], having[Trait.COUPLES_RECORDS]
    if clipping and coupling:
        found.append(
            f"'{coupling[0]}' makes a record's gradient depend on other records, which voids the differential privacy "
            f"of '{clipping[0]}'. Remove one of them."
        )
    formal = [name for name, d in named if isinstance(d, TrainingDefence) and d.guarantee == "G1"]
    if len(formal) > 1:
        found.append(
            f"'{formal[0]}' and '{formal[1]}' each spend a privacy budget on the training, and no claim covers both. "
            "Keep one of them."
        )
    reading = having[Trait.READS_MEMBERS_AT_SERVING]
    if formal and reading:
        found.append(
            f"'{reading[0]}' is fitted to answers about the training records, outside the privacy budget of "
            f"'{formal[0]}', which would no longer cover what is answered. Remove one of them: the other defences of "
            "the answers need no records."
        )
    owners = having[Trait.REPLACES_TRAINING]
    training = [name for name, d in named if isinstance(d, TrainingDefence)]
    late = training[training.index(owners[0]) + 1 :] if owners else []
    if len(owners) > 1 and not {*owners} <= {*formal}:
        found.append(f"'{owners[0]}' and '{owners[1]}' each train in a way of their own. Keep one of them.")
    elif late and len(owners) == 1:
        found.append(f"'{late[0]}' would change a training loop that '{owners[0]}' does not run. List it before it.")
    return found + _disordered([(name, d) for name, d in named if isinstance(d, AnswerDefence)])


def _disordered(answers: Sequence[tuple[str, AnswerDefence]]) -> list[str]:
    found = []
    for (before, first), (after, second) in pairwise(answers):
        if first.shows(Access.SCORE) < Access.SCORE:
            found.append(f"'{before}' answers labels alone and leaves '{after}' no scores. List it last.")
            continue
        earlier, later = (getattr(d, "stage", None) for d in (first, second))
        if earlier is not None and later is not None and later < earlier:
            found.append(
                f"'{after}' would undo what '{before}' did to the scores. List it before: "
                f"{', '.join(stage.name.lower() for stage in Stage)} is the order."
            )
    return found

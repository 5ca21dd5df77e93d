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

    def claim(self, recipe: Recipe, members: int, answers: int | None = None) -> PrivacyClaim | None:
        """Return the strongest claim that is true of the whole chain, or None when nothing is proven.

        One formal layer carries the claim, and the others add what they assume. Answer defences that are functions of
        the model's answers alone are post-processing; one that reads the members again voids a claim on the weights.
        """
        weights = [c for d in self.training if (c := d.claim(recipe, members)) is not None and c.guarantee in FORMAL]
        served = [c for d in self.answers if (c := d.claim(answers)) is not None and c.guarantee in FORMAL]
        if len(weights) > 1:
            raise ConfigError(
                "[[defences]]: two layers each spend a privacy budget on the training, and no claim covers both.",
                hint="Keep one formal training-time defence.",
            )
        reads = [name for name, d in self.named if Trait.READS_MEMBERS_AT_SERVING in d.traits]
        if weights and reads:
            text = f"the claim is about the released weights; the answers of {', '.join(reads)} read the members again"
            return replace(weights[0], excludes=(*weights[0].excludes, text))
        return (weights + served)[0] if weights or served else None


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
    owners = having[Trait.REPLACES_TRAINING]
    others = [name for name, d in named if isinstance(d, TrainingDefence) and name not in owners]
    if len(owners) > 1:
        found.append(f"'{owners[0]}' and '{owners[1]}' each train in a way of their own. Keep one of them.")
    elif owners and others and [n for n, d in named if isinstance(d, TrainingDefence)].index(owners[0]) == 0:
        found.append(f"'{others[0]}' would change a training loop that '{owners[0]}' does not run. List it before it.")
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

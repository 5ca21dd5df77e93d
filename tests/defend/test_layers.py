"""Chains of defences: what may stand on what, and the claim that is true of all."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar

import numpy as np
import pytest

from vestige.defend.base import Trait, Unfitted
from vestige.defend.layers import Layers, conflicts
from vestige.errors import ConfigError, UsageError
from vestige.privacy_claim import PrivacyClaim
from vestige.target import Access, IntArray, Outputs, Recipe

G1 = PrivacyClaim(epsilon=2.0, delta=1e-5)
G2 = PrivacyClaim(epsilon=5.0, guarantee="G2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    guarantee: ClassVar[str] = "G4"
    adaptive: ClassVar[tuple[str, ...]] = ("gap",)
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = ""

    traits: frozenset[Trait] = frozenset()
    promise: PrivacyClaim | None = None

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:
        return recipe

    def claim(self, recipe: Recipe, members: int) -> PrivacyClaim | None:
        return self.promise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers(Unfitted):
    guarantee: ClassVar[str] = "G4"
    adaptive: ClassVar[tuple[str, ...]] = ("gap", "noise")
    reserve: ClassVar[bool] = True
    paper: ClassVar[str] = ""

    traits: frozenset[Trait] = frozenset()
    promise: PrivacyClaim | None = None

    def apply(self, outputs: Outputs, tickets: Any) -> Outputs:
        return outputs

    def claim(self, answers: int | None) -> PrivacyClaim | None:
        return self.promise

    def shows(self, access: Access) -> Access:
        return min(access, Access.LABEL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Formal(Training):
    guarantee: ClassVar[str] = "G1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assuming(Answers):
    assumes: ClassVar[tuple[str, ...]] = ("ranges are public",)


RECIPE: Any = object()


def layers(*chain: Any) -> Layers:
    return Layers(tuple((f"d{place}", defence) for place, defence in enumerate(chain)))


@pytest.mark.parametrize("traits", list(itertools.product([False, True], repeat=3)))
def test_a_chain_stands_exactly_when_no_layer_voids_another(traits: tuple[bool, bool, bool]) -> None:
    clips, couples, owns = traits
    first = Training(traits=frozenset({Trait.CLIPS_RECORDS} if clips else ()))
    second = Training(traits=frozenset({Trait.COUPLES_RECORDS} if couples else ()))
    third = Training(traits=frozenset({Trait.REPLACES_TRAINING} if owns else ()))
    for chain in itertools.permutations((first, second, third)):
        wanted = (clips and couples) or (owns and chain[-1] is not third)
        assert bool(conflicts(tuple((str(k), d) for k, d in enumerate(chain)))) == wanted
        if wanted:
            with pytest.raises(ConfigError):
                layers(*chain)
        else:
            assert len(layers(*chain).training) == 3


def test_two_ways_of_training_do_not_stand_together() -> None:
    own = Training(traits=frozenset({Trait.REPLACES_TRAINING}))
    with pytest.raises(ConfigError, match="each train in a way of their own"):
        layers(own, own)


def test_training_comes_before_answers() -> None:
    with pytest.raises(ConfigError, match="first"):
        layers(Answers(), Training())
    with pytest.raises(ConfigError, match="neither"):
        layers(object())


def test_the_claim_is_the_formal_layers_and_says_what_the_others_assume() -> None:
    assert layers(Training(), Answers()).claim(RECIPE, 10) is None
    assert layers(Training(promise=G1), Answers()).claim(RECIPE, 10) == G1
    assert layers(Training(), Answers(promise=G2)).claim(RECIPE, 10) == G2
    assert layers(Training(promise=G1), Answers(promise=G2)).claim(RECIPE, 10) == G1
    assumed = layers(Training(promise=G1), Assuming()).claim(RECIPE, 10)
    assert assumed == dataclasses.replace(G1, assumptions=("ranges are public",))


def test_what_voids_a_proof_is_refused_with_the_reason() -> None:
    reading = Answers(traits=frozenset({Trait.READS_MEMBERS_AT_SERVING}))
    with pytest.raises(ConfigError, match="no longer cover what is answered"):
        layers(Formal(promise=G1), reading)
    assert layers(Training(), reading)
    with pytest.raises(ConfigError, match="no claim covers both"):
        layers(Formal(promise=G1), Formal(promise=G1))


COUPLING = {"mixup", "relaxloss", "mixup_mmd", "stacking", "adversarial_regularization", "selena"}
CLIPPING = {"dp_sgd", "adaptive_clipping", "idp_sgd", "renyi_filter"}
OTHER_FORMAL = {"dp_erm_output", "dp_erm_objective", "amp", "frank_wolfe", "pate"}
OWN_TRAINING = OTHER_FORMAL | {
    "mixup_mmd", "stacking", "adversarial_regularization", "adversarial_training", "selena", "dmp",
}  # fmt: skip
PLAIN = {"dropout", "l2", "early_stopping", "label_smoothing", "confidence_penalty", "augment", "hamp"}
ANSWERS = ["temperature", "noise", "rank_release", "memguard", "top_k", "round", "label_only"]


def stands(first: str, second: str) -> bool:
    """Say by name what may stand on what."""
    training = CLIPPING | OWN_TRAINING | COUPLING | PLAIN
    formal = CLIPPING | OTHER_FORMAL
    if first in training and second in training:
        pair = {first, second}
        return not (
            (pair & CLIPPING and pair & COUPLING) or (first in formal and second in formal) or first in OWN_TRAINING
        )
    if second in training:
        return False
    if first in training:
        return not (first in formal and second == "memguard")
    if first in ("label_only", "private_prediction"):
        return False
    if second == "private_prediction":
        return True
    if {first, second} == {"rank_release", "memguard"} or first == second:
        return True
    return ANSWERS.index(first) < ANSWERS.index(second)


def test_every_pair_of_registered_defences_stands_or_is_refused_as_the_table_says() -> None:
    from vestige.defend import DEFENCES

    known = {name: DEFENCES.create(name) for name in DEFENCES.names()}
    assert {*known} == CLIPPING | OWN_TRAINING | COUPLING | PLAIN | {*ANSWERS, "private_prediction"}
    for (first, one), (second, other) in itertools.product(known.items(), repeat=2):
        try:
            Layers(((first, one), (second, other)))
            found = True
        except ConfigError:
            found = False
        assert found == stands(first, second), (first, second)


def test_a_chain_sums_up_what_its_layers_need() -> None:
    chain = layers(Training(), Answers())
    assert chain.reserve
    assert not layers(Training()).reserve
    assert chain.adaptive == ["gap", "noise"]
    assert not chain.keeps_label
    assert chain.shows(Access.SCORE) == Access.LABEL
    assert chain.shows(Access.WHITE_BOX) == Access.WHITE_BOX
    assert not Layers()


def test_unknown_names_are_refused_with_the_nearest() -> None:
    from vestige.defend import layers_of

    with pytest.raises(UsageError, match="top_k"):
        layers_of([{"kind": "topk"}])
    with pytest.raises(UsageError):
        layers_of([{"kind": "top_k", "kk": 3}])
    assert np.all([bool(layers_of([{"kind": "top_k"}])), not layers_of([])])

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
        wanted = (clips and couples) or (owns and chain[0] is third)
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


def test_the_claim_is_the_formal_layers_and_says_what_the_others_take_away() -> None:
    assert layers(Training(), Answers()).claim(RECIPE, 10) is None
    assert layers(Training(promise=G1), Answers()).claim(RECIPE, 10) == G1
    assert layers(Training(), Answers(promise=G2)).claim(RECIPE, 10) == G2
    assert layers(Training(promise=G1), Answers(promise=G2)).claim(RECIPE, 10) == G1
    reading = Answers(traits=frozenset({Trait.READS_MEMBERS_AT_SERVING}))
    weakened = layers(Training(promise=G1), reading).claim(RECIPE, 10)
    assert weakened is not None
    assert any("read the members again" in text for text in weakened.excludes)
    with pytest.raises(ConfigError, match="no claim covers both"):
        layers(Training(promise=G1), Training(promise=G1)).claim(RECIPE, 10)


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

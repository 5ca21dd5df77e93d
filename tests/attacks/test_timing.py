"""Timing: exits first, answers second; without the clock it is the attack on answers alone; nothing from nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from vestige.attacks import ATTACKS, facts, resolve, unfit
from vestige.attacks.ml_leaks import MLLeaks1
from vestige.attacks.threshold import Gap, Loss
from vestige.attacks.timing import Timing
from vestige.errors import AccessError, UsageError
from vestige.signals import SignalTable
from vestige.target import Access
from vestige.testing import check_attack, simulate
from vestige.testing.conformance import auc, auc_error

ALONE = {"order": Loss(), "learned": MLLeaks1(family="logistic"), "labels": Gap()}
RULES = {rule: Timing(rule=rule, family="logistic") for rule in ALONE}


def swapped(evidence, key, own, shadows=None):
    """The same evidence, where a signal was measured otherwise."""
    values = {key: np.asarray(own, np.float32)[None]}
    mine = SignalTable({**evidence.own.columns, **values}, len(evidence), 1)
    if shadows is None:
        return replace(evidence, own=mine)
    others = SignalTable({**evidence.shadows.columns, key: shadows}, len(evidence), evidence.shadows.models)
    return replace(evidence, own=mine, shadows=others)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("timing", [True, False])
def test_conforms(rule, timing):
    check_attack(replace(RULES[rule], timing=timing))


@pytest.mark.parametrize("rule", RULES)
def test_without_the_clock_it_is_the_attack_on_answers_exactly(rule):
    attack, alone = replace(RULES[rule], timing=False), ALONE[rule]
    assert attack.needs == alone.needs
    assert attack.queries_taken(None) == 1
    for seed in range(3):
        evidence = simulate(alone.needs, seed=seed, shadows=4).evidence
        np.testing.assert_array_equal(attack.score(evidence), alone.score(evidence))


@pytest.mark.parametrize("rule", RULES)
def test_one_exit_for_all_tells_nothing_more_than_the_answers(rule):
    attack, alone = RULES[rule], ALONE[rule]
    trial = simulate(attack.needs, seed=1, shadows=4)
    evidence = trial.evidence
    flat = np.zeros_like(evidence.own.model("exits", 0))
    shadows = None if rule != "learned" else np.zeros_like(evidence.shadows.block("exits", 0, len(evidence)))
    scores = attack.score(swapped(evidence, "exits", flat, shadows))
    plain = alone.score(replace(evidence, needs=alone.needs))
    if rule == "learned":  # a column that is always one moves the attack model's constant
        np.testing.assert_allclose(auc(scores, trial.members), auc(plain, trial.members), atol=0.01)
    else:
        np.testing.assert_array_equal(np.argsort(scores, kind="stable"), np.argsort(plain, kind="stable"))


def test_the_order_is_exit_first_loss_second_to_the_last_bit():
    evidence = simulate(RULES["order"].needs, seed=0, records=600).evidence
    draw = np.random.default_rng(0)
    exits = draw.integers(0, 4, 600)
    # Losses over the whole range that a float can hold, and pairs of neighbouring ones.
    loss = np.exp(draw.uniform(-85, 6, 600)).astype(np.float32)
    loss[:3] = 0.0, np.float32(1e-45), np.float32(3e38)
    loss[300:] = np.nextafter(loss[:300], np.float32(np.inf))
    evidence = swapped(swapped(evidence, "exits", np.stack([exits, exits], 1)[:, None]), "loss", loss[:, None])
    scores = RULES["order"].score(evidence)
    order = np.lexsort((loss, exits))
    assert (np.diff(scores[order]) <= 0).all()
    within = np.diff(exits[order]) == 0
    normal = (loss[order] > 1e-38)[:-1] & (loss[order] < 1e37)[:-1]
    assert (np.diff(scores[order])[within & normal] < 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_exits_that_tell_members_are_used(rule):
    """Answers that say nothing, and exits that members leave by early: everything comes from the clock."""
    trial = simulate(RULES[rule].needs, seed=2, records=400, memory=0.0, shadows=4)
    evidence, members = trial.evidence, trial.members

    def left(inside, seed):
        later = 1 + np.random.default_rng(seed).integers(0, 2, inside.shape)
        return np.repeat(np.where(inside, 0, later)[..., None], 2, axis=-1)[..., None, :].astype(np.float32)

    shadows = left(evidence.masks, 1) if rule == "learned" else None
    scores = RULES[rule].score(swapped(evidence, "exits", left(members, 0), shadows))
    assert auc(scores, members) > 0.99
    assert abs(auc(ALONE[rule].score(replace(evidence, needs=ALONE[rule].needs)), members) - 0.5) < 4 * auc_error(
        members
    )


@pytest.mark.parametrize("rule", RULES)
def test_a_target_that_remembers_nothing_gives_chance(rule):
    areas = []
    for seed in range(12):
        trial = simulate(RULES[rule].needs, seed=50 + seed, records=300, shadows=4, target_memory=0.0)
        areas.append(auc(RULES[rule].score(trial.evidence), trial.members))
    assert abs(np.mean(areas) - 0.5) <= 3 * auc_error(trial.members) / np.sqrt(12)


def test_a_target_with_more_exits_than_any_shadow_model_showed():
    evidence = simulate(RULES["learned"].needs, seed=3, shadows=2).evidence
    more = np.array(evidence.own.model("exits", 0))
    more[::7, :, 0] = 9
    assert np.isfinite(RULES["learned"].score(swapped(evidence, "exits", more))).all()


def test_access_queries_and_knowledge_are_declared():
    assert ATTACKS.create("timing") == Timing()
    about = facts("timing")
    assert (about.access, about.queries) == ("score", "budget, default 10")
    assert about.knowledge == ("how long answers take",)
    assert Timing().queries_taken(None) == 10
    assert (Timing().access, Timing(rule="labels").access) == (Access.SCORE, Access.LABEL)
    assert "needs score access" in unfit(Timing(), access=Access.LABEL)
    assert unfit(Timing(rule="labels"), access=Access.LABEL) == ""
    assert Timing(queries=5, exits=3).key == "exits(exits=3,queries=5)"


def test_it_reads_no_clock_that_it_did_not_declare():
    evidence = simulate(Timing().needs).evidence
    with pytest.raises(AccessError, match="'exits', which it did not declare"):
        Timing().score(replace(evidence, needs=Loss().needs))


def test_a_budget_leaves_fewer_measurements_and_one_answer():
    ((_, attack),) = resolve("timing", budget=6)
    assert attack.queries == 5
    ((_, plain),) = resolve([{"name": "timing", "params": {"timing": False}}], budget=1)
    assert plain.queries_taken(None) == 1
    with pytest.raises(UsageError, match="too small for Timing"):
        resolve("timing", budget=1)


@pytest.mark.parametrize("params", [{"rule": "best"}, {"family": "oracle"}, {"queries": 0}, {"average": "mode"}])
def test_what_cannot_be_meant_is_refused(params):
    with pytest.raises(UsageError, match="Expected"):
        Timing(**params)

"""Sequences of metrics: order alone, a network that memorised, and the same distillation as the trajectory attack."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from attacks.sequence_toys import evidence, falling, in_order  # noqa: E402
from vestige.attacks.assemble import Field  # noqa: E402
from vestige.attacks.seqmia import SeqMIA  # noqa: E402
from vestige.attacks.sequences import _lstm  # noqa: E402
from vestige.attacks.trajectory import Trajectory  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.datasets import load_dataset  # noqa: E402
from vestige.probing import probe_pool  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.signals.base import SignalTable  # noqa: E402
from vestige.split import draw  # noqa: E402
from vestige.store import Store  # noqa: E402
from vestige.target import Access  # noqa: E402
from vestige.testing import check_attack, take_records  # noqa: E402
from vestige.testing.attacks import ATTACK_CHECKS  # noqa: E402
from vestige.testing.conformance import auc, auc_error  # noqa: E402

MODELS = ("network", "boosting", "logistic")


@pytest.mark.parametrize("model", MODELS)
def test_order_is_told_where_nothing_else_differs(model):
    attack = SeqMIA(model=model)
    given, members = evidence(attack, in_order, records=800)
    assert auc(attack.score(given), members) >= 0.95
    steps = given.target(attack.key)[:, 0].reshape(800, 24, 5)[:, :, 0]
    for blind in (steps.mean(1), steps.var(1), steps[:, 7], steps.max(1)):
        assert abs(auc(blind, members) - 0.5) < 4 * auc_error(members)


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_left_of_it_when_each_row_is_shuffled(model):
    attack = SeqMIA(model=model)
    given, members = evidence(attack, partial(in_order, shuffled=True), records=800)
    assert abs(auc(attack.score(given), members) - 0.5) < 4 * auc_error(members)


def test_what_was_learnt_from_order_says_nothing_of_shuffled_rows():
    attack = SeqMIA(model="boosting")
    given, members = evidence(attack, partial(in_order, shuffled=True), known=in_order, records=800)
    assert abs(auc(attack.score(given), members) - 0.5) < 4 * auc_error(members)


def test_attention_is_a_softmax_of_agreement_with_the_last_state():
    """The network, written out state by state."""
    torch.manual_seed(0)
    (reader, head), forward = _lstm(5)
    x = torch.randn(3, 7, 5)
    states = torch.stack([reader(x[:, : t + 1])[0][:, -1] for t in range(7)], dim=1)
    for row in range(3):
        last = states[row, -1]
        weights = torch.softmax(torch.stack([last @ one for one in states[row]]), 0)
        context = sum(w * one for w, one in zip(weights, states[row], strict=True))
        torch.testing.assert_close(forward(x)[row], head(torch.cat([last, context])))


def test_scores_are_a_function_of_the_record_and_the_seed():
    attack = SeqMIA(epochs=11)
    given, _ = evidence(attack, falling, records=120)
    state = torch.random.get_rng_state()
    scores = attack.score(given)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(321)
    np.testing.assert_array_equal(attack.score(given), scores)
    some = np.random.default_rng(0).permutation(120)[:50]
    np.testing.assert_allclose(attack.transfer(given, take_records(given, some)), scores[some], rtol=1e-9, atol=1e-9)


def test_chance_where_the_target_remembers_nothing():
    attack = SeqMIA(epochs=11)
    areas = []
    for seed in range(4):
        given, members = evidence(
            attack, lambda m, g: falling(np.zeros_like(m), g), known=falling, records=400, seed=seed
        )
        areas.append(auc(attack.score(given), members))
    assert abs(np.mean(areas) - 0.5) < 3.5 * auc_error(members) / 2


@pytest.mark.parametrize("check", ATTACK_CHECKS)
@pytest.mark.parametrize("attack", [SeqMIA(model="logistic")], ids=repr)
def test_other_forms_conform(attack, check):
    check_attack(attack, only=[check])


def test_both_attacks_read_one_distillation():
    assert SeqMIA().key == Trajectory().key == "distilled"
    assert SeqMIA().paper != Trajectory().paper
    assert replace(SeqMIA(), process="snapshots").access == Access.WHITE_BOX


@lru_cache(maxsize=1)
def memorised():
    """Networks that learnt half of the digits by heart, one label in three a wrong one."""
    digits, g = load_dataset("digits"), np.random.default_rng(0)
    order = g.permutation(len(digits))[:500]
    y = np.where(g.random(500) < 0.3, g.integers(0, 10, 500), digits.y[order])
    records = Records.build(digits.x[order], y)
    recipe = TorchRecipe(hidden=(64,), epochs=60, batch_size=16, lr=0.1)
    split = draw(500, shadows=8, seed=1, population=0.2)
    table = SignalTable({}, 500, 9)
    keys = ["distilled(epochs=20)", "snapshots(count=20)", "distilled(epochs=0)"]
    table = probe_pool(table, keys, [0, 1, 3, 5], split, recipe, records, Store(tempfile.mkdtemp()))
    return Field(records=records, split=split, table=table, access=Access.WHITE_BOX, seed=0)


@pytest.mark.parametrize("process", ["distilled", "snapshots"])
@pytest.mark.parametrize(("kind", "model"), [(Trajectory, "network"), (SeqMIA, "network"), (SeqMIA, "boosting")])
def test_memorised_records_are_found(kind, model, process):
    field = memorised()
    attack = kind(process=process, epochs=20, model=model)
    loss = Trajectory(epochs=0)
    areas = {
        one: [auc(one.score(field.evidence(m, one)), field.membership(m)) for m in (0, 1)] for one in (attack, loss)
    }
    assert min(areas[attack]) > 0.8
    assert np.mean(areas[attack]) > np.mean(areas[loss]) - 0.02

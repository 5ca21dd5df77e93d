"""Loss trajectories: closed forms, toys of known law, a network that memorised, and nothing where there is nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from attacks.sequence_toys import evidence, falling, first_metric  # noqa: E402
from vestige.attacks.sequences import LARGEST, Scale, teach  # noqa: E402
from vestige.attacks.summaries import FEATURES, summarise  # noqa: E402
from vestige.attacks.trajectory import Trajectory  # noqa: E402
from vestige.errors import UsageError  # noqa: E402
from vestige.signals import SignalTable, create  # noqa: E402
from vestige.signals.process.distilled import Distilled  # noqa: E402
from vestige.signals.process.metrics import METRICS  # noqa: E402
from vestige.target import Access  # noqa: E402
from vestige.testing import check_attack, take_records  # noqa: E402
from vestige.testing.attacks import ATTACK_CHECKS  # noqa: E402
from vestige.testing.conformance import auc, auc_error  # noqa: E402

MODELS = ("network", "boosting", "logistic")


def test_without_a_trajectory_it_is_the_loss_attack():
    attack = Trajectory(epochs=0)
    given, _ = evidence(attack, lambda m, g: first_metric(g.exponential(30.0, (len(m), 1))))
    loss = given.target(attack.key)[:, 0, 0]
    np.testing.assert_array_equal(attack.score(given), -loss.astype(np.float64))


@cache
def told(model):
    """Return the evidence of falling losses, and the area under what an attack model makes of it."""
    attack = Trajectory(model=model, epochs=11)
    given, members = evidence(attack, falling, records=1500)
    return given, members, auc(attack.score(given), members)


@pytest.mark.parametrize("model", MODELS)
def test_a_trajectory_tells_what_no_single_step_does(model):
    given, members, area = told(model)
    series = given.target(Trajectory(epochs=11).key)[:, 0].reshape(1500, 12, 5)[:, :, 0]
    alone = max(auc(-series[:, step], members) for step in range(12))
    assert area > alone + 0.05
    assert alone > 0.55


def test_the_order_of_the_epochs_is_nothing_to_it():
    """After training anew on steps in another order, the same for all records, it does as well."""
    attack, order = Trajectory(epochs=11), np.random.default_rng(1).permutation(12)
    _, members, first = told("network")
    permuted, _ = evidence(attack, lambda m, g: falling(m, g)[:, order], records=1500)
    second = auc(attack.score(permuted), members)
    assert first > 0.65
    assert abs(first - second) < 0.03


def test_it_reads_the_loss_alone():
    attack = Trajectory(epochs=11)
    given, _ = evidence(attack, falling)

    def noisy(table, seed):
        values = np.array([table.model(attack.key, m) for m in range(table.models)])
        steps = values.reshape(*values.shape[:3], 12, 5)
        steps[..., 1:] = np.random.default_rng(seed).standard_normal(steps[..., 1:].shape)
        return SignalTable({attack.key: steps.reshape(values.shape)}, table.records, table.models)

    moved = replace(given, own=noisy(given.own, 0))
    np.testing.assert_array_equal(attack.score(moved), attack.score(given))


@pytest.mark.parametrize("model", MODELS)
def test_chance_where_the_target_remembers_nothing(model):
    """Shadow models leak, so there is much to learn; the target does not."""
    attack, areas = Trajectory(model=model, epochs=11), []
    for seed in range(4):
        given, members = evidence(
            attack, lambda m, g: falling(np.zeros_like(m), g), known=falling, records=500, seed=seed
        )
        areas.append(auc(attack.score(given), members))
    assert abs(np.mean(areas) - 0.5) < 3.5 * auc_error(members) / 2


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_a_function_of_the_record_and_the_seed(model):
    attack = Trajectory(model=model, epochs=11)
    given, _ = evidence(attack, falling, records=150)
    torch.manual_seed(123)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    scores = attack.score(given)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    torch.manual_seed(321)
    np.testing.assert_array_equal(attack.score(given), scores)
    some = np.random.default_rng(0).permutation(150)[:60]
    np.testing.assert_allclose(attack.transfer(given, take_records(given, some)), scores[some], rtol=1e-9, atol=1e-9)
    if model == "network":
        assert not np.array_equal(attack.score(replace(given, seed=1)), scores)


def test_too_few_rows_leave_the_loss():
    attack = Trajectory(epochs=11)
    given, _ = evidence(attack, falling, records=20)
    series = given.target(attack.key)[:, 0].reshape(20, 12, 5)
    np.testing.assert_array_equal(attack.score(given), -series[:, -1, 0].astype(np.float64))


def test_scales_are_those_of_shadow_rows_and_losses_are_cut():
    series = np.array([[[1.0, 500.0]], [[3.0, 20.0]]], np.float32)
    scale = Scale.of(series)
    np.testing.assert_allclose(scale.centre, [[2.0, LARGEST]])
    np.testing.assert_allclose(scale(np.array([[[2.0, 25.0]], [[5.0, 0.0]]])), [[[0.0, 0.0]], [[3.0, -LARGEST]]])


def test_the_epoch_kept_is_the_best_on_rows_kept_apart():
    """Labels that mean nothing: the kept network says next to nothing, where the last one would be sure."""
    g = np.random.default_rng(0)
    x, members = g.standard_normal((200, 10, 1)), g.random(200) < 0.5
    rule = teach("mlp", x, members, 0)
    assert np.abs(rule(g.standard_normal((500, 10, 1)))).mean() < 0.6


def test_summaries_are_what_they_are_called():
    series = np.array([[[1.0], [3.0], [2.0], [6.0]]])
    found = dict(zip(FEATURES, summarise(series)[0], strict=True))
    away = np.array([-2.0, 0.0, -1.0, 3.0])
    assert found == pytest.approx({
        "first": 1.0, "mean": 3.0, "last": 6.0, "slope": np.polyfit(range(4), [1, 3, 2, 6], 1)[0],
        "variance": np.var([1, 3, 2, 6]), "lag_product": (away[1:] * away[:-1]).sum() / 3,
        "place_of_largest": 1.0, "place_of_smallest": 0.0, "turns": 1 / 3, "last_step": 4.0,
    })  # fmt: skip
    assert summarise(np.zeros((2, 1, 3))).shape == (2, 30)
    two = np.random.default_rng(0).standard_normal((4, 6, 2))
    np.testing.assert_allclose(summarise(two)[:, 1::2], summarise(two[:, :, 1:]))


@pytest.mark.parametrize("check", ATTACK_CHECKS)
@pytest.mark.parametrize("attack", [Trajectory(model="boosting"), Trajectory(epochs=0)], ids=repr)
def test_other_forms_conform(attack, check):
    check_attack(attack, only=[check])


def test_both_processes_and_what_they_ask_for():
    assert Trajectory().key == "distilled"
    assert Trajectory(epochs=9, student="mlp").key == "distilled(epochs=9,student='mlp')"
    assert create(Trajectory(records=7).key) == Distilled(records=7)
    assert Trajectory().access == Access.SCORE
    kept = Trajectory(process="snapshots", epochs=9)
    assert (kept.key, kept.access) == ("snapshots(count=9)", Access.WHITE_BOX)
    assert Trajectory(process="snapshots").key == "snapshots"
    assert replace(kept, process="distilled").access == Access.SCORE
    check_attack(kept, only=["declared", "rebuilds", "repeats"])


def test_queries_are_counted_with_those_that_taught_the_student():
    attack = Trajectory(epochs=11)
    given, _ = evidence(attack, falling, records=100)
    assert attack.queries_taken(given) == 2.0
    outside, _ = evidence(attack, falling, records=50)
    assert attack.queries_taken(replace(given, population=outside)) == 2.5
    assert replace(attack, records=30).queries_taken(replace(given, population=outside)) == 1.5
    assert replace(attack, epochs=0).queries_taken(given) == 1.0
    assert replace(attack, process="snapshots").queries_taken(given) == 1.0


@pytest.mark.parametrize(
    "options",
    [{"process": "guessed"}, {"model": "mlp"}, {"models": 0}, {"rows": 0}, {"epochs": -1}, {"student": "tree"}],
)
def test_impossible_parameters_end_in_one_sentence(options):
    with pytest.raises(UsageError, match="Expected"):
        Trajectory(**options)


def test_metrics_are_five():
    assert METRICS[0] == "loss"
    assert len(METRICS) == 5

"""Who was in an update: closed forms, drift, several updates, what an attack model is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vestige.attacks.base import Evidence
from vestige.attacks.lira import LiRA
from vestige.attacks.model_update import ModelUpdate
from vestige.attacks.pairs import features_of
from vestige.backends.updating import UpdateRecipe
from vestige.errors import UsageError
from vestige.records import Records
from vestige.signals import SignalTable
from vestige.signals.measure import measure
from vestige.target import Access
from vestige.testing import ATTACK_CHECKS, check_attack, simulate
from vestige.testing.conformance import auc, auc_error

RULES = [ModelUpdate(rule=rule) for rule in ("difference", "ratio", "lira", "learned")]
RULES += [ModelUpdate(drift="none"), ModelUpdate(rule="lira", drift="none", signal="loss")]
RULES += [ModelUpdate(rule="learned", features="sorted_diff", family="logistic")]


@pytest.mark.parametrize("check", ATTACK_CHECKS)
@pytest.mark.parametrize("attack", RULES, ids=repr)
def test_conforms(attack, check):
    check_attack(attack, only=[check])


def seen(attack, own, *, outside=None, shadows=None, masks=None, y=None):
    """Evidence of (N, T) changes, by hand."""

    def table(values):
        """Of (M, N, T): as `measure` leaves them, with one query of each record."""
        values = np.asarray(values, np.float64)[:, :, None]
        return SignalTable(
            {attack.key: values[..., 0] if values.shape[3] == 1 else values}, values.shape[1], len(values)
        )

    def evidence(own, shadows, masks):
        return Evidence(
            access=Access.SCORE, needs=attack.needs, labels=np.zeros(len(own), np.int64) if y is None else y, classes=4,
            own=table(own[None]), shadows=table(shadows), masks=masks,
        )  # fmt: skip

    nothing = np.zeros((0, len(own), 1)), np.zeros((0, len(own)), bool)
    made = evidence(np.asarray(own), *(nothing if shadows is None else (shadows, masks)))
    if outside is None:
        return made
    empty = np.zeros((0, len(outside), 1)), np.zeros((0, len(outside)), bool)
    return replace(made, population=evidence(np.asarray(outside), *empty))


def test_deleting_a_record_from_a_ridge_regression_shows_its_leave_one_out_residual():
    """Removing z moves its own residual from e to e / (1 - h), whatever the rest of the data."""
    pytest.importorskip("sklearn")
    from sklearn.linear_model import Ridge

    from vestige.backends.sklearn import SklearnRecipe

    g, alpha = np.random.default_rng(3), 0.7
    x = g.normal(size=(40, 6))
    y = x @ g.normal(size=6) + g.normal(size=40)
    hat = np.diag(x @ np.linalg.solve(x.T @ x + alpha * np.eye(6), x.T))
    residual = y - x @ np.linalg.solve(x.T @ x + alpha * np.eye(6), x.T @ y)
    attack = ModelUpdate(signal="residual", drift="none")
    for z in range(40):
        others = np.delete(np.arange(40), z)
        base = Records(x[others], y[others], others)
        own = Records(x[[z, z]], y[[z, z]], np.array([0, 1]))
        inner = SklearnRecipe(Ridge(alpha=alpha, fit_intercept=False))
        recipe = UpdateRecipe(inner=inner, base=base, kind="unlearn", share=1.0)
        values = measure(recipe.fit(own, np.array([0]), z), own, np.array([0]), attack.needs.signals)
        evidence = Evidence(
            access=Access.SCORE, needs=attack.needs, labels=own.y[:1], classes=0,
            own=SignalTable({key: v[None] for key, v in values.items()}, 1, 1),
            shadows=SignalTable({attack.key: np.zeros((0, 1, 1))}, 1, 0), masks=np.zeros((0, 1), bool),
        )  # fmt: skip
        e = residual[z]
        expected = np.sign(e) * (e / (1 - hat[z]) - e)
        assert attack.score(evidence)[0] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("rule", ["difference", "ratio", "lira"])
def test_snapshots_that_are_the_same_say_nothing(rule):
    g = np.random.default_rng(0)
    for shadows in (np.zeros((6, 50, 1)), g.normal(size=(6, 50, 1))):
        attack = ModelUpdate(rule=rule, drift="none")
        evidence = seen(attack, np.zeros((50, 1)), shadows=shadows, masks=g.random((6, 50)) < 0.5)
        assert not attack.score(evidence).any()


def test_drift_is_taken_away_from_the_target_and_from_each_shadow_model():
    g = np.random.default_rng(1)
    own, outside, masks = g.normal(size=(60, 1)), g.normal(size=(30, 1)), g.random((8, 60)) < 0.5
    shadows, beyond = g.normal(size=(8, 60, 1)) + 2 * masks[:, :, None], g.normal(size=(8, 30, 1))
    drifts = g.normal(size=(8, 1, 1)) * 5
    attack = ModelUpdate(rule="lira")

    def scores(own_drift, drifts):
        evidence = seen(attack, own + own_drift, shadows=shadows + drifts, masks=masks)
        held_out = seen(attack, outside + own_drift, shadows=beyond + drifts, masks=np.zeros((8, 30), bool))
        return attack.score(replace(evidence, population=held_out))

    still = scores(0.0, 0.0 * drifts)
    np.testing.assert_allclose(scores(7.0, drifts), still, rtol=1e-6, atol=1e-6)
    by_hand = replace(
        seen(attack, own - outside.mean(), shadows=shadows - beyond.mean(axis=1, keepdims=True), masks=masks),
        needs=attack.needs,
    )
    np.testing.assert_allclose(still, LiRA(signal=attack.key).score(by_hand), rtol=1e-9)


def test_of_several_updates_the_largest_jump_counts_and_says_when():
    attack = ModelUpdate()
    own = np.array([[0.0, 5.0, 1.0], [2.0, 1.0, 1.5], [0.0, 0.0, 9.0]])
    evidence = seen(attack, own, outside=np.tile([[0.0, 0.0, 8.5]], (4, 1)))
    assert attack.score(evidence).tolist() == [5.0, 2.0, 0.5]
    assert attack.when(evidence).tolist() == [2, 1, 3]
    assert attack.remarks(evidence) == {"when": pytest.approx([2, 1, 3])}
    assert attack.queries_taken(evidence) == 4
    single = seen(attack, own[:, :1], outside=np.zeros((4, 1)))
    assert attack.remarks(single) == {}
    losses = replace(attack, signal="loss", drift="none")
    assert losses.score(seen(losses, -own)).tolist() == [5.0, 2.0, 9.0]


def test_when_is_right_for_records_that_a_neighbour_learns_by_heart():
    """One nearest neighbour names a record's random label from the update on that added it, and hardly ever before."""
    pytest.importorskip("sklearn")
    from sklearn.neighbors import KNeighborsClassifier

    from vestige.backends.sklearn import SklearnRecipe

    g = np.random.default_rng(0)
    base, own = (
        Records(g.normal(size=(n, 6)).astype(np.float32), g.integers(0, 10, n), np.arange(n), None, tuple("abcdefghij"))
        for n in (100, 200)
    )
    recipe = UpdateRecipe(inner=SklearnRecipe(KNeighborsClassifier(1)), base=base, kind="retrain", steps=4)
    rows = np.arange(100)
    model = recipe.fit(own, rows, 5)
    attack = ModelUpdate(drift="none")
    values = measure(model, own, np.arange(200), attack.needs.signals)[attack.key]
    evidence = seen(attack, values[:, 0], y=own.y)
    scores, when = attack.score(evidence), attack.when(evidence)
    truth = np.zeros(200, int)
    for step, part in enumerate(recipe.parts(rows, 5), start=1):
        truth[part] = step
    told = (scores > 0) & (truth > 0)
    assert told.sum() > 80
    # A record may be named rightly by chance before it is added; then the jump came too early.
    assert np.mean(when[told] == truth[told]) > 0.9
    assert auc(scores, truth > 0) > 0.85


@pytest.mark.parametrize("attack", RULES[:4], ids=repr)
def test_an_update_that_leaves_no_trace_gives_chance(attack):
    areas = []
    for seed in range(10):
        trial = simulate(attack.needs, seed=seed, records=200, shadows=6, target_memory=0.0)
        areas.append(auc(attack.score(trial.evidence), trial.members))
    assert abs(np.mean(areas) - 0.5) <= 3 * auc_error(trial.members) / np.sqrt(10)


def test_an_attack_model_is_shown_what_the_paper_shows_it():
    without, having = np.array([[0.5, 0.2, 0.3]]), np.array([[0.1, 0.3, 0.6]])
    pair = np.hstack([without, having])
    expected = {
        "direct_concat": [0.1, 0.3, 0.6, 0.5, 0.2, 0.3],
        "sorted_concat": [0.6, 0.3, 0.1, 0.3, 0.2, 0.5],
        "direct_diff": [-0.4, 0.1, 0.3],
        "sorted_diff": [0.3, 0.1, -0.4],
        "euclidean": [np.sqrt(0.16 + 0.01 + 0.09)],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(features_of(name, pair), [values], rtol=1e-6, atol=1e-7)
    order = np.array([2, 0, 1])
    renamed = np.hstack([without[:, order], having[:, order]])
    for name in SORTED:
        np.testing.assert_allclose(features_of(name, renamed), features_of(name, pair), rtol=1e-6)


SORTED = ["sorted_concat", "sorted_diff", "euclidean"]


@pytest.mark.parametrize(
    ("family", "features"),
    # A linear rule of classes that are all alike has nothing to go by, unless they are sorted.
    [
        (f, s)
        for f in ("logistic", "forest", "mlp")
        for s in SORTED + ["direct_concat", "direct_diff"] * (f != "logistic")
    ],
)
def test_every_feature_and_family_learns_who_moved(family, features):
    attack = ModelUpdate(rule="learned", features=features, family=family, rows=400)
    trial = simulate(attack.needs, seed=1, records=400, shadows=6, classes=5, memory=3.0)
    assert auc(attack.score(trial.evidence), trial.members) > 0.6


def test_options_that_cannot_be_are_refused():
    for options, says in (
        ({"rule": "guess"}, "rule"), ({"drift": "class"}, "drift"), ({"features": "raw"}, "features"),
        ({"family": "oracle"}, "family"), ({"rows": 0}, "row"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            ModelUpdate(**options)
    with pytest.raises(UsageError, match="cannot say when"):
        ModelUpdate(rule="learned").when(seen(ModelUpdate(rule="learned"), np.zeros((3, 8))))

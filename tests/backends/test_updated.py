"""Updated models and the recipe that makes them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import vestige
from vestige.backends.coerce import as_target
from vestige.backends.updated import Updated
from vestige.backends.updating import UpdateRecipe, joined
from vestige.errors import AccessError, DataError, ModelError, UsageError
from vestige.records import Records
from vestige.target import Access

pytest.importorskip("sklearn")
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB

from vestige.backends.sklearn import SklearnRecipe


def blobs(n=120, seed=0, classes="abc"):
    g = np.random.default_rng(seed)
    y = g.integers(0, len(classes), n)
    x = g.normal(size=(n, 5)) + np.eye(len(classes), 5)[y]
    return Records(x.astype(np.float32), y.astype(np.int64), np.arange(n), None, tuple(classes))


BASE, REST = blobs(80, 1), blobs(60, 2)
ROWS = np.arange(0, 60, 2)


def answers(target, records=REST):
    return np.asarray(target.query(records.x, Access.SCORE).values)


def test_it_answers_as_its_last_snapshot_and_hides_the_rest_from_queries():
    first, last = (LogisticRegression(C=c).fit(BASE.x, BASE.y) for c in (0.01, 10.0))
    target = as_target(vestige.Updated([first, last]), task="classification", classes=BASE.classes)
    assert isinstance(target, Updated)
    assert np.array_equal(answers(target), last.predict_proba(REST.x))
    assert np.array_equal(answers(target.snapshots[0]), first.predict_proba(REST.x))
    assert target.access == Access.SCORE
    with pytest.raises(AccessError, match="white_box"):
        target.query(REST.x, Access.WHITE_BOX)
    for wrong in ([first], first):
        with pytest.raises(UsageError, match="before its update and after"):
            Updated(wrong)


def plain(rows, records=REST, model=GaussianNB):
    """A model trained on the base and on some rows, without any of the code under test."""
    x, y = np.concatenate([BASE.x, records.x[rows]]), np.concatenate([BASE.y, records.y[rows]])
    return model().fit(x, y)


@pytest.mark.parametrize("steps", [1, 3])
def test_retraining_adds_and_unlearning_removes_the_rows_step_by_step(steps):
    options = {"inner": SklearnRecipe(GaussianNB()), "base": BASE, "share": 1.0, "steps": steps}
    added, removed = (UpdateRecipe(kind=kind, **options) for kind in ("retrain", "unlearn"))
    parts = added.parts(ROWS, 7)
    assert sorted(np.concatenate(parts)) == ROWS.tolist()
    assert len(parts) == steps
    models = added.fit(REST, ROWS, 7), removed.fit(REST, ROWS, 7)
    assert [model.removed for model in models] == [False, True]
    for step in range(steps + 1):
        seen = np.concatenate([ROWS[:0], *parts[:step]])
        left = np.setdiff1d(ROWS, seen)
        for model, rows in zip(models, (seen, left), strict=True):
            expected = plain(rows).predict_proba(REST.x)
            np.testing.assert_allclose(answers(model.snapshots[step]), expected, rtol=1e-5, atol=1e-7)


def test_fine_tuning_an_estimator_goes_on_with_the_rows_alone():
    base, rest = (Records(np.abs(r.x), r.y, r.ids, None, r.classes) for r in (BASE, REST))
    recipe = UpdateRecipe(inner=SklearnRecipe(MultinomialNB()), base=base, share=1.0, tune_epochs=2)
    model = recipe.fit(rest, ROWS, 0)
    expected = MultinomialNB().fit(base.x, base.y)
    np.testing.assert_allclose(answers(model.snapshots[0], rest), expected.predict_proba(rest.x), rtol=1e-6)
    for _ in range(2):
        expected.partial_fit(rest.x[ROWS], rest.y[ROWS])
    np.testing.assert_allclose(answers(model, rest), expected.predict_proba(rest.x), rtol=1e-6)


def test_fine_tuning_speaks_the_estimators_own_labels():
    names = np.array(["x", "y", "z"])
    inner = SklearnRecipe(SGDClassifier(loss="log_loss", class_weight=None), labels=tuple(names))
    records = [Records(r.x, r.y, r.ids, None, tuple(names)) for r in (BASE, REST)]
    model = UpdateRecipe(inner=inner, base=records[0], tune_epochs=3).fit(records[1], ROWS, 0)
    assert not np.allclose(answers(model, records[1]), answers(model.snapshots[0], records[1]))


def test_every_model_draws_its_own_base_unless_it_is_known():
    inner = SklearnRecipe(GaussianNB())
    drawn = [UpdateRecipe(inner=inner, base=BASE, kind="retrain").fit(REST, ROWS, seed) for seed in (1, 2)]
    known = [UpdateRecipe(inner=inner, base=BASE, kind="retrain", share=1.0).fit(REST, ROWS, s) for s in (1, 2)]
    assert not np.allclose(*(answers(one.snapshots[0]) for one in drawn))
    assert np.array_equal(*(answers(one.snapshots[0]) for one in known))
    # A base as (x, y) is the same base.
    pair = UpdateRecipe(inner=inner, base=(BASE.x, BASE.y), kind="retrain").fit(REST, ROWS, 1)
    assert np.array_equal(answers(pair), answers(drawn[0]))


def test_fine_tuning_a_torch_model_is_a_plain_loop_from_where_it_was():
    torch = pytest.importorskip("torch")
    from vestige.backends.tuning import tune

    recipe = vestige.TorchRecipe(hidden=(8,), epochs=3, batch_size=16, lr=0.1, schedule="constant", normalize="none")
    start = recipe.fit(BASE, np.arange(40), 5)
    (tuned,) = tune(recipe, BASE, [np.arange(40, 56)], [6], [start], epochs=2, lr=0.03)
    net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    net.load_state_dict(dict(zip(net.state_dict(), start.moved_state().values(), strict=True)))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4)
    x, y = torch.from_numpy(BASE.x[40:56]), torch.from_numpy(BASE.y[40:56])
    for _ in range(2):  # one batch holds all the rows, so their order does not matter
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    expected = net(torch.from_numpy(REST.x)).detach().numpy()
    np.testing.assert_allclose(answers(tuned), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(answers(tuned) - answers(start)).max() > 0.01


def test_torch_snapshots_are_the_same_one_by_one_and_come_back_from_their_weights():
    pytest.importorskip("torch")
    inner = vestige.TorchRecipe(hidden=(8,), epochs=2, batch_size=16)
    recipe = UpdateRecipe(inner=inner, base=BASE, steps=2, tune_epochs=2)
    rows, seeds = [ROWS, ROWS[:20] + 1], [3, 4]
    together = recipe.fit_many(REST, rows, seeds)
    for model, own, seed in zip(together, rows, seeds, strict=True):
        assert all(
            np.array_equal(answers(a), answers(b))
            for a, b in zip(model.snapshots, recipe.fit(REST, own, seed).snapshots, strict=True)
        )
    back = recipe.restore(REST, together[0].state())
    assert [np.array_equal(answers(a), answers(b)) for a, b in zip(back.snapshots, together[0].snapshots, strict=True)]
    assert not hasattr(
        UpdateRecipe(inner=SklearnRecipe(GaussianNB()), base=BASE, kind="retrain").fit(REST, ROWS, 0), "state"
    )
    with pytest.raises(ModelError, match="keeps no weights"):
        UpdateRecipe(inner=SklearnRecipe(GaussianNB()), base=BASE).restore(REST, {})


def test_whatever_can_change_a_snapshot_changes_the_fingerprint():
    base = {"inner": SklearnRecipe(GaussianNB()), "base": BASE}
    changes = [
        {"inner": SklearnRecipe(GaussianNB(var_smoothing=0.1))}, {"base": blobs(80, 9)}, {"kind": "retrain"},
        {"share": 0.4}, {"steps": 2}, {"tune_epochs": 3}, {"tune_lr": 0.1},
    ]  # fmt: skip
    texts = [UpdateRecipe(**base | change).fingerprint() for change in [{}, *changes]]
    assert len(set(texts)) == len(texts)
    assert json.loads(texts[0])["update"] == "fine_tune"
    assert texts[0] == UpdateRecipe(**base).fingerprint()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "forget"}, "fine_tune, retrain, unlearn"),
        ({"share": 0.0}, "share of the base"),
        ({"steps": 0}, "at least one step"),
        ({"kind": "retrain", "tune_epochs": 3}, "are for fine_tune"),
        ({"inner": GaussianNB()}, "recipe of one snapshot"),
    ],
)
def test_options_that_cannot_be_are_refused(change, says):
    with pytest.raises(UsageError, match=says):
        UpdateRecipe(**{"inner": SklearnRecipe(GaussianNB()), "base": BASE} | change)


def test_what_cannot_be_tuned_or_joined_says_so():
    with pytest.raises(UsageError, match="no partial_fit"):
        UpdateRecipe(inner=SklearnRecipe(LogisticRegression()), base=BASE).fit(REST, ROWS, 0)
    inner = vestige.FunctionRecipe(lambda x, y, seed: GaussianNB().fit(x, y))
    with pytest.raises(UsageError, match="FunctionRecipe cannot be fine-tuned"):
        UpdateRecipe(inner=inner, base=BASE).fit(REST, ROWS, 0)
    with pytest.raises(UsageError, match="lr is for torch"):
        UpdateRecipe(inner=SklearnRecipe(GaussianNB()), base=BASE, tune_lr=0.1).fit(REST, ROWS, 0)
    with pytest.raises(UsageError, match="for each of 40 updates"):
        UpdateRecipe(inner=SklearnRecipe(GaussianNB()), base=BASE, kind="retrain", steps=40).fit(REST, ROWS, 0)
    with pytest.raises(DataError, match="3 classes, got"):
        joined(blobs(20, classes="ab"), REST)

"""What the weights show, from the target down to the table; linear models against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from vestige.backends.sklearn import SklearnTarget
from vestige.errors import AccessError, ModelError, UsageError
from vestige.records import Records
from vestige.signals import create
from vestige.signals.base import OutputSignal, Probe
from vestige.signals.internal.gradients import runs
from vestige.signals.internal.inside import activity, inside, of_linear, slopes
from vestige.signals.measure import measure
from vestige.target import Access, CountingTarget, Outputs

KEYS = ("gradient_norm", "gradient_norm(layer='last')", "last_layer", "white_box_vector", "components")


def blobs(classes, count=80, width=5, seed=0):
    draw = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = draw.normal(size=(count, width)) + draw.normal(size=(classes, width))[y]
    return Records.build(x.astype(np.float32), y)


def logistic(records, **options):
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000, **options).fit(records.x, records.y)
    return SklearnTarget.wrap(model, task="classification", classes=len(records.classes))


def by_hand(model, x, y, classes):
    """Return the length of (p - e_y) ⊗ (x, 1) for each record; with two classes the weights have one row."""
    p = model.predict_proba(x)
    lengths = []
    for k in range(len(x)):
        r = p[k] - np.eye(classes)[y[k]]
        r = r[1:] if classes == 2 else r
        lengths.append(np.sqrt((np.outer(r, np.append(x[k], 1.0)) ** 2).sum()))
    return np.array(lengths)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_a_logistic_models_gradient_is_residual_times_input(classes):
    records = blobs(classes)
    target = logistic(records)
    rows = np.arange(len(records))
    found = inside(target, records, rows)
    expected = by_hand(target.estimator, records.x.astype(np.float64), records.y, classes)
    np.testing.assert_allclose(np.exp(found.log_norm), expected, rtol=1e-9)
    p = target.estimator.predict_proba(records.x.astype(np.float64))
    np.testing.assert_allclose(found.residual, p - np.eye(classes)[records.y], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found.slope, axis=1), 1)
    measured = measure(target, records, rows, KEYS)
    np.testing.assert_allclose(measured["gradient_norm"][:, 0], np.log(expected), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(measured["gradient_norm"], measured["gradient_norm(layer='last')"])
    for key, width in zip(KEYS, (None, None, 2, 20, 25), strict=True):
        assert measured[key].shape == (len(rows), 1, *((width,) if width else ()))
        assert np.isfinite(measured[key]).all()


def test_a_pipelines_weights_read_scaled_features():
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    records = blobs(3)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(records.x, records.y)
    target = SklearnTarget.wrap(model, task="classification", classes=3)
    found = inside(target, records, np.arange(80))
    scaled = model[0].transform(records.x).astype(np.float64)
    np.testing.assert_allclose(found.hidden, scaled)
    np.testing.assert_allclose(np.exp(found.log_norm), by_hand(model[-1], scaled, records.y, 3), rtol=1e-6)


def test_a_torch_module_and_a_linear_model_with_the_same_weights_show_the_same():
    torch = pytest.importorskip("torch")
    from vestige.backends.torch import TorchTarget

    records = blobs(3)
    target = logistic(records)
    module = torch.nn.Linear(5, 3)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(target.estimator.coef_))
        module.bias.copy_(torch.from_numpy(target.estimator.intercept_))
    rows = np.array([5, 3, 70, 5])
    ours = inside(TorchTarget.wrap(module), records, rows)
    theirs = inside(target, records, rows)
    for part in ("log_probabilities", "slope", "log_slope", "hidden", "lengths", "activity"):
        np.testing.assert_allclose(getattr(ours, part), getattr(theirs, part), rtol=1e-4, atol=1e-5, err_msg=part)


def test_a_target_that_is_counted_shows_its_weights_too():
    records = blobs(3)
    target = logistic(records)
    rows = np.arange(20)
    found = measure(CountingTarget(target), records, rows, ["gradient_norm"])
    np.testing.assert_array_equal(found["gradient_norm"], measure(target, records, rows, KEYS)["gradient_norm"])


def test_a_measurement_does_not_depend_on_the_other_rows():
    records = blobs(4, count=1200)
    target = logistic(records)
    rows = np.random.default_rng(0).permutation(1200)
    whole = measure(target, records, rows, KEYS)
    some = measure(target, records, rows[600:603], KEYS)
    for key in KEYS:
        np.testing.assert_array_equal(whole[key][600:603], some[key])
    assert measure(target, records, rows[:0], ["gradient_norm"])["gradient_norm"].shape == (0, 1)


class Scores:
    access = Access.SCORE

    def query(self, x, want):
        return Outputs("logits", np.zeros((len(x), 3)))


class Sealed(Scores):
    access = Access.WHITE_BOX


def test_weights_that_are_not_to_be_had_are_refused():
    records = blobs(3)
    for key in KEYS:
        with pytest.raises(AccessError, match="white_box"):
            create(key).measure(Scores(), records, np.arange(3), np.random.default_rng(0))
        with pytest.raises(AccessError, match="torch module"):
            create(key).measure(Sealed(), records, np.arange(3), np.random.default_rng(0))


def test_they_are_signals_that_share_a_pass_and_nothing_else():
    for key in KEYS:
        assert create(key).access == Access.WHITE_BOX
        assert not isinstance(create(key), OutputSignal | Probe)


def test_slopes_lose_nothing_at_either_end():
    """Odds of e^±gap against two others, with the gap far beyond what probabilities can hold."""
    for gap in (-5000.0, -3.0, 0.0, 3.0, 40.0, 700.0, 5000.0):
        said, slope, length = slopes(np.array([[gap, 0.0, 0.0]]) + 17.0, np.array([0]))
        q = -np.logaddexp(0, gap - np.log(2))  # log of what the others have together
        assert said[0, 0] == pytest.approx(-np.logaddexp(0, np.log(2) - gap), rel=1e-12)
        # residual = q · (-1, 1/2, 1/2)
        np.testing.assert_allclose(slope[0], np.array([-1, 0.5, 0.5]) / np.sqrt(1.5), rtol=1e-9)
        assert length[0] == pytest.approx(q + 0.5 * np.log(1.5), rel=1e-12)


def test_impossible_answers_are_refused():
    with pytest.raises(ModelError, match="NaN"):
        slopes(np.array([[np.nan, 0.0]]), np.array([0]))
    with pytest.raises(ModelError, match="column for each class"):
        slopes(np.zeros((2, 3)), np.array([0, 3]))


def test_activity_in_closed_form():
    values = np.array([[3.0, 0.0, -4.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    mean = np.sqrt(25 / 4)
    expected = [[np.log(mean), 0.5, np.log(4 / mean)], [0.0, 1.0, 0.0]]
    np.testing.assert_allclose(activity(values), expected, atol=1e-8)
    assert np.isfinite(activity(np.zeros((1, 4)))).all()


def test_layers_fall_into_four_runs_in_order():
    assert runs(1) == [[0]] * 4
    assert runs(3) == [[0], [0], [1], [2]]
    assert runs(4) == [[0], [1], [2], [3]]
    assert runs(6) == [[0, 1], [2, 3], [4], [5]]


def test_an_unknown_layer_is_refused():
    records = blobs(3)
    target = logistic(records)
    for key, message in (("gradient_norm(layer='middle')", "middle"), ("gradient_norm(layer=2)", "below 1")):
        with pytest.raises(UsageError, match=message):
            measure(target, records, np.arange(3), [key])


def test_white_box_features_of_a_linear_model_in_closed_form():
    hidden = np.array([[3.0, 4.0]])
    logits = np.log([[0.7, 0.2, 0.1]])
    found = of_linear(hidden, logits, np.array([1]))
    vector = create("white_box_vector").read(found, np.array([1]))[0]
    residual = np.array([0.7, -0.8, 0.1])
    length = np.linalg.norm(residual)
    scores = [-np.log(0.2), np.log(0.2 / 0.8), np.log(0.2) - np.log([0.7, 0.2, 0.1]).mean(), *np.log([0.7, 0.2, 0.1])]
    np.testing.assert_allclose(vector[:6], scores)
    whole = np.log(length * np.sqrt(26))
    np.testing.assert_allclose(vector[6:12], [whole, np.log(length), *[whole] * 4])
    assert vector[12] == pytest.approx(np.log(5))
    np.testing.assert_allclose(vector[[13, 19]], [3 / np.sqrt(12.5), 4 / np.sqrt(12.5)])

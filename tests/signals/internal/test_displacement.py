"""Displacement: against the exact Bayes posterior, against refits by hand, and on parts of torch modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from vestige.errors import AuditError, UsageError
from vestige.records import Records
from vestige.signals import create
from vestige.signals.base import OutputSignal, Probe, Setting
from vestige.signals.internal.displacement import Displacement, centred, displacement, log_odds
from vestige.testing.conformance import auc


@dataclass
class Shadow:
    target: Any
    mask: np.ndarray


def gaussian_logits(z, means, variance):
    """Return the logits of the optimal classifier of Gaussian classes: weights μ/σ², bias -Σμ²/2σ²."""
    return z @ (means / variance).T - (means**2 / (2 * variance)).sum(axis=1)


def test_gaussian_displacement_is_the_exact_posterior():
    """F9: the prior odds are even, members come from the training set's means and the others from the population's."""
    draw = np.random.default_rng(0)
    variance = draw.uniform(0.3, 2, 12)
    trained, population = draw.normal(size=(2, 3, 12))
    y = np.arange(50) % 3
    z = population[y] + draw.normal(size=(50, 12)) * np.sqrt(variance)
    inside, outside = (stats.norm.pdf(z, means[y], np.sqrt(variance)).prod(axis=1) for means in (trained, population))
    own, proxy = (gaussian_logits(z, means, variance)[np.arange(50), y] for means in (trained, population))
    score = displacement(own, proxy[None], np.ones((1, 50), bool))
    np.testing.assert_allclose(special.expit(score), inside / (inside + outside), rtol=1e-12)


@pytest.mark.parametrize(
    ("count", "expected"), [(5, (0.940, 0.997, 0.998)), (10, (0.824, 0.969, 0.976)), (20, (0.711, 0.908, 0.918))]
)
def test_areas_of_gaussian_classes(count, expected):
    """F9: 75 features, two classes at distance 4, ``count`` records of each, one proxy of ten times as many."""
    draw = np.random.default_rng(count)
    areas = []
    for _ in range(200):
        means = draw.normal(size=(2, 75))
        means *= 4 / np.linalg.norm(means[1] - means[0])
        y, wide = np.repeat([0, 1], count), np.repeat([0, 1], 10 * count)
        members, others = (means[y] + draw.normal(size=(2 * count, 75)) for _ in range(2))
        shadow = means[wide] + draw.normal(size=(20 * count, 75))
        own, proxy = (
            np.stack([x[labels == c].mean(axis=0) for c in (0, 1)]) for x, labels in ((members, y), (shadow, wide))
        )
        z, both = np.concatenate([members, others]), np.tile(y, 2)
        truth = np.arange(len(z)) < 2 * count
        at, unseen = (np.arange(len(z)), both), np.ones((1, len(z)), bool)
        said, *others = (gaussian_logits(z, m, 1.0) for m in (own, proxy, means))
        scores = [special.log_softmax(said, axis=1)[at]]
        scores += [displacement(said[at], other[at][None], unseen) for other in others]
        areas.append([auc(score, truth) for score in scores])
    found = np.mean(areas, axis=0)
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert found[0] < found[1] <= found[2]


def test_a_proxy_that_is_the_target_says_nothing():
    logits = np.random.default_rng(0).normal(size=20)
    assert (displacement(logits, logits[None], np.ones((1, 20), bool)) == 0).all()


def test_a_vector_common_to_all_classes_changes_nothing():
    """Softmax does not see it, and training may leave any."""
    draw = np.random.default_rng(0)
    z, own, proxy, common = (draw.normal(size=shape) for shape in ((30, 6), (4, 6), (4, 6), 6))
    y, seen = np.arange(30) % 4, np.ones((1, 30), bool)
    for form in (centred, log_odds):
        plain = displacement(form(z @ own.T, y), form(z @ proxy.T, y)[None], seen)
        moved = displacement(form(z @ (own + common).T, y), form(z @ proxy.T, y)[None], seen)
        np.testing.assert_allclose(plain, moved, rtol=1e-10, atol=1e-12)
    # Centring logits is centring weights.
    weights = (own - own.mean(axis=0)) - (proxy - proxy.mean(axis=0))
    plain = displacement(centred(z @ own.T, y), centred(z @ proxy.T, y)[None], seen)
    np.testing.assert_allclose(plain, (z * weights[y]).sum(axis=1), atol=1e-12)


def test_log_odds_are_twice_the_centred_logit_of_two_classes():
    logits = np.random.default_rng(0).normal(size=(3, 20, 2)) * 5
    y = np.arange(20) % 2
    np.testing.assert_allclose(log_odds(logits, y), 2 * centred(logits, y))
    p = special.softmax(logits, axis=-1)[:, np.arange(20), y]
    np.testing.assert_allclose(log_odds(logits, y), special.logit(p), rtol=1e-8)


def test_only_proxies_without_the_record_judge_it():
    proxies = np.array([[1.0, 1, 1], [3.0, 3, 3]])
    outside = np.array([[True, True, False], [True, False, False]])
    np.testing.assert_array_equal(displacement(np.zeros(3), proxies, outside), [-2, -1, -2])


def test_a_path_leaves_the_logit_itself():
    """Leino and Fredrikson's layer below: w by gradients averaged along a path, b the rest; their sum is the logit."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    top = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    z = torch.randn(5).double()
    for label in range(3):
        steps = (torch.arange(20_000).double() + 0.5) / 20_000
        path = (steps[:, None] * z).requires_grad_()
        influence = torch.autograd.grad(top(path)[:, label].sum(), path)[0].mean(0)
        rest = top(torch.zeros(5).double())[
            label
        ].detach()  # the integral of the gradient along the path is the difference
        assert float(influence @ z + rest) == pytest.approx(top(z)[label].item(), abs=1e-7)


def blobs(count=240, classes=3, width=8, seed=0):
    draw = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = draw.normal(size=(count, width)) + 0.5 * draw.normal(size=(classes, width))[y]
    return Records.build(x.astype(np.float32), y)


def setting(records, *, rows=None, spare=(), references=(), recipe=None, seed=3):
    rows = np.arange(len(records)) if rows is None else np.asarray(rows)
    return Setting(
        records=records, rows=rows, spare=np.asarray(spare, np.int64), references=references, recipe=recipe,
        budget=None, seed=seed,
    )  # fmt: skip


def half_masks(records, count, seed=0):
    draw = np.random.default_rng(seed)
    first = [draw.permutation(len(records)) < len(records) // 2 for _ in range(count // 2)]
    return [mask for one in first for mask in (one, ~one)]


def logistic(records, rows, **options):
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression

    from vestige.backends.sklearn import SklearnTarget

    model = LogisticRegression(**{"max_iter": 500, "tol": 1e-6, **options}).fit(records.x[rows], records.y[rows])
    return SklearnTarget.wrap(model, task="classification", classes=len(records.classes))


def test_it_is_a_probe():
    probe = create("displacement(data='spare',layers=1,proxies=3)")
    assert probe == Displacement(data="spare", layers=1, proxies=3)
    assert isinstance(probe, Probe)
    assert not isinstance(probe, OutputSignal)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_logistic_models_displacement_is_that_of_its_weights(classes):
    records = blobs(classes=classes)
    masks = half_masks(records, 4)
    target = logistic(records, np.arange(120))
    shadows = [Shadow(logistic(records, np.flatnonzero(mask)), mask) for mask in masks]
    found = Displacement().probe(target, setting(records, references=shadows))
    w, b = (_both(part) for part in (target.estimator.coef_, target.estimator.intercept_))
    total, count = np.zeros(len(records)), np.zeros(len(records))
    for one in shadows:
        v, a = (_both(part) for part in (one.target.estimator.coef_, one.target.estimator.intercept_))
        own = (records.x.astype(np.float64) * ((w - w.mean(0)) - (v - v.mean(0)))[records.y]).sum(axis=1)
        own += ((b - b.mean()) - (a - a.mean()))[records.y]
        total += np.where(one.mask, 0, own)
        count += ~one.mask
    # The last layer is the whole model here, and the shadow models are what would be trained again.
    assert found.shape == (240, 4)
    np.testing.assert_allclose(found[:, 0], total / count, atol=3e-3)
    np.testing.assert_allclose(found[:, 2], total / count, atol=3e-3)
    if classes == 2:
        np.testing.assert_allclose(found[:, 1], 2 * found[:, 0], rtol=1e-6)


def _both(part):
    """Two classes that share one vector of weights are two vectors, of which one is zero."""
    part = np.asarray(part)
    return np.concatenate([np.zeros_like(part), part]) if len(part) == 1 else part


def test_a_proxy_trained_on_the_targets_own_records_is_the_target():
    records = blobs()
    mask = np.arange(240) < 120
    target = logistic(records, np.flatnonzero(mask))
    shadow = Shadow(logistic(records, np.flatnonzero(mask)), mask)
    found = Displacement(proxies=1).probe(target, setting(records, references=[shadow]))
    # The optimiser stops at single precision, since that is what the records have.
    np.testing.assert_allclose(found, 0, atol=5e-3)


def test_spare_records_are_judged_by_proxies_that_left_them_out():
    records = blobs()
    target = logistic(records, np.arange(120))
    spare = np.arange(180, 240)
    found = Displacement(data="spare", proxies=60).probe(target, setting(records, spare=spare))
    assert found.shape == (240, 2)
    # With sixty proxies each leaves out one record: the displacement there is that of the other fifty-nine.
    w, b = target.estimator.coef_, target.estimator.intercept_
    for row in (180, 207):
        others = logistic(records, np.setdiff1d(spare, [row])).estimator
        dw, db = w - others.coef_, b - others.intercept_
        said = records.x[row].astype(np.float64) @ (dw - dw.mean(0)).T + db - db.mean()
        assert found[row, 0] == pytest.approx(said[records.y[row]], abs=3e-3)


def test_spare_records_are_as_many_as_the_target_has_and_each_is_left_out_once():
    records = blobs()
    shadow = Shadow(None, np.arange(240) < 50)
    spare = np.arange(100, 240)
    for references, size in (((), 126), ([shadow], 50)):
        masks = Displacement(data="spare")._training_sets(setting(records, spare=spare, references=references))
        assert (masks.sum(axis=1) == size).all()
        assert not masks[:, :100].any()
        assert (~masks[:, 100:]).any(axis=0).all()


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("data", ["references", "spare"])
def test_members_of_a_small_logistic_model_are_displaced_more_than_their_loss_tells(data, classes):
    """The paper's motivating case: few records for as many features."""
    count = 40
    areas = []
    for seed in range(8):
        draw = np.random.default_rng(seed)
        y = np.arange(2 * count + 200) % classes
        x = draw.normal(size=(len(y), count)) + 0.3 * draw.normal(size=(classes, count))[y]
        records = Records.build(x.astype(np.float32), y)
        truth = draw.permutation(2 * count) < count
        target = logistic(records, np.flatnonzero(truth), C=0.1, tol=1e-4)
        masks = []
        for _ in range(5):
            first = draw.permutation(2 * count) < count
            masks += [np.append(first, np.zeros(200, bool)), np.append(~first, np.zeros(200, bool))]
        shadows = [Shadow(logistic(records, np.flatnonzero(mask), C=0.1, tol=1e-4), mask) for mask in masks]
        rows = np.arange(2 * count)
        given = setting(records, rows=rows, spare=np.arange(2 * count, len(y)), references=shadows)
        found = Displacement(data=data).probe(target, given)
        said = target.estimator.predict_log_proba(records.x[rows])[rows, y[rows]]
        areas.append([auc(said, truth), auc(found[:, 0], truth), auc(found[:, 1], truth)])
    loss, logit, odds = np.mean(areas, axis=0)
    assert odds > loss + (0.02 if data == "references" else 0.005)
    assert odds >= logit - 1e-9


def test_a_records_value_does_not_depend_on_the_other_rows():
    records = blobs()
    target = logistic(records, np.arange(120))
    shadows = [Shadow(logistic(records, np.flatnonzero(mask)), mask) for mask in half_masks(records, 4)]
    whole = Displacement().probe(target, setting(records, references=shadows))
    some = Displacement().probe(target, setting(records, rows=[7, 200, 3], references=shadows))
    np.testing.assert_allclose(whole[[7, 200, 3]], some, rtol=1e-6)


def test_what_cannot_be_trained_is_said():
    records = blobs()
    target = logistic(records, np.arange(120))
    with pytest.raises(UsageError, match="no model trained on"):
        Displacement().probe(target, setting(records, spare=np.arange(5)))
    with pytest.raises(UsageError, match="layers"):
        Displacement(layers=0)
    with pytest.raises(UsageError, match="references or spare"):
        Displacement(data="shadow")
    order = np.argsort(records.y, kind="stable")
    with pytest.raises(AuditError, match="every class"):
        Displacement(data="spare").probe(target, setting(records, spare=order[:40]))


@pytest.fixture(scope="module")
def networks():
    pytest.importorskip("torch")
    from vestige.backends.torch import TorchRecipe

    records = blobs(count=300, classes=4, width=10, seed=2)
    recipe = TorchRecipe(model="mlp", hidden=(24, 16), epochs=60, batch_size=16, lr=0.1)
    masks = half_masks(records, 6)
    rows = [np.arange(100), *(np.flatnonzero(mask) for mask in masks)]
    models = recipe.fit_many(records, rows, list(range(7)))
    return records, recipe, models[0], [Shadow(m, mask) for m, mask in zip(models[1:], masks, strict=True)]


def test_every_layer_of_a_network_finds_its_members(networks):
    records, recipe, target, shadows = networks
    given = setting(records, references=shadows, recipe=recipe)
    found = Displacement(layers=2).probe(target, given)
    assert found.shape == (300, 6)
    np.testing.assert_array_equal(found, Displacement(layers=2).probe(target, given))
    truth = np.arange(300) < 100
    for place, column in enumerate(found.T):
        assert auc(column, truth) > (0.65 if place % 2 else 0.55)
    assert Displacement(layers=5).probe(target, given).shape == (300, 6)  # the first layer's input is the record
    only = Displacement(layers=1, data="spare").probe(target, setting(records, spare=np.arange(200, 300)))
    assert only.shape == (300, 2)
    assert auc(only[:200, 1], truth[:200]) > 0.6


def test_proxies_are_trained_on_what_the_targets_lower_part_makes_of_records(networks):
    import torch

    from vestige.signals.internal.torch_heads import heads_of

    records, recipe, target, shadows = networks
    heads = heads_of(target, setting(records, references=shadows, recipe=recipe), 2)
    answers = target.module(torch.from_numpy(np.asarray(records.x))).detach().numpy()
    for head in heads:
        np.testing.assert_allclose(head.logits, answers, rtol=1e-4, atol=1e-4)
        proxy = head.retrained([np.arange(100)], [1])[0]
        right = proxy.argmax(1) == records.y
        assert right[:100].mean() > 0.95  # what the target learnt below serves its own records best
        assert not np.allclose(proxy, answers, atol=0.1)


def test_the_module_is_left_as_it_was(networks):
    import torch

    records, recipe, target, shadows = networks
    before = {k: v.clone() for k, v in target.module.state_dict().items()}
    target.module.train()
    Displacement(proxies=2).probe(target, setting(records, references=shadows, recipe=recipe))
    assert all(m.training for m in target.module.modules())
    target.module.eval()
    assert all(torch.equal(v, before[k]) for k, v in target.module.state_dict().items())


def test_modules_of_ones_own_have_their_last_linear_layer_taken_apart():
    torch = pytest.importorskip("torch")
    from vestige.backends.torch import TorchTarget
    from vestige.signals.internal.torch_heads import heads_of

    class Own(torch.nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.last = torch.nn.Linear(6, 4)
            self.first = torch.nn.Linear(10, 6)
            self.scale = scale

        def forward(self, x):
            return self.last(torch.relu(self.first(x))) * self.scale

    records = blobs(count=60, classes=4, width=10)
    given = setting(records, spare=np.arange(60))
    assert len(heads_of(TorchTarget.wrap(Own(1.0), classes=4), given, 2)) == 1
    scaled = TorchTarget.wrap(Own(2.0), classes=4)
    assert heads_of(scaled, given, 2) == []
    with pytest.raises(AuditError, match="No part of the model"):
        Displacement(data="spare").probe(scaled, given)


def test_a_single_logit_is_two_classes():
    torch = pytest.importorskip("torch")
    from vestige.backends.torch import TorchTarget

    records = blobs(count=80, classes=2, width=10)
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(10, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
    found = Displacement(data="spare", proxies=2).probe(
        TorchTarget.wrap(module, classes=2), setting(records, spare=np.arange(40, 80))
    )
    assert found.shape == (80, 2)
    assert np.isfinite(found).all()

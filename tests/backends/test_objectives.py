"""Objectives: what they are by definition, gradients against automatic ones, the same bytes in any grouping."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.backends.objectives import Relaxed, Softened, confident
from vestige.backends.stopping import Best, Stopping

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from vestige.backends.ensemble import mixing  # noqa: E402
from vestige.backends.ensemble.losses import CrossEntropy  # noqa: E402
from vestige.backends.ensemble.mixing import Blend, Mixer  # noqa: E402
from vestige.backends.ensemble.objectives import RelaxedLoss, SoftenedLoss, loss_of  # noqa: E402
from vestige.backends.table_noise import TableNoise  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.errors import ConfigError  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.target import Access  # noqa: E402

CLASSES = 4
OBJECTIVES = [
    Softened(smoothing=0.1),
    Softened(smoothing=-0.2),
    Softened(penalty=0.3),
    Softened(smoothing=0.1, penalty=0.3),
    Softened(entropy=0.7, penalty=0.01, per_class=True),
    *(
        Relaxed(level=level, upper=upper, flatten=flatten, per_record=per_record)
        for level in (0.4, 50.0)
        for upper in (1.0, 0.2)
        for flatten in ("paper", "reference")
        for per_record in (False, True)
    ),
]
EPOCHS = (0, 1)


def logits(*shape, spread=3.0, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, spread, shape))


def loss_at(objective, epoch, classes=CLASSES):
    loss = loss_of(objective, classes)
    return loss.at(epoch) if isinstance(loss, RelaxedLoss) else loss


@pytest.mark.parametrize("epoch", EPOCHS)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@pytest.mark.parametrize("columns", [CLASSES, 1])
def test_gradients_are_those_of_the_value(objective, epoch, columns):
    classes = max(columns, 2)
    outputs = logits(3, 8, columns)
    y = torch.from_numpy(np.random.default_rng(1).integers(0, classes, (3, 8)))
    loss = loss_at(objective, epoch, classes)
    for given_as in (outputs, list(outputs)):
        found = loss.gradient(given_as, y)
        for m in range(3):
            leaf = outputs[m].clone().requires_grad_()
            wanted = torch.autograd.grad(loss.value(leaf, y[m]), leaf)[0]
            torch.testing.assert_close(found[m], wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_the_built_in_one(smoothing):
    outputs, y = logits(16, CLASSES), torch.arange(16) % CLASSES
    found = SoftenedLoss(Softened(smoothing=smoothing).levels(CLASSES)).value(outputs, y)
    torch.testing.assert_close(found, F.cross_entropy(outputs, y, label_smoothing=smoothing))


def test_softened_labels_sum_to_one():
    for objective in (Softened(smoothing=0.3), Softened(smoothing=-0.3), Softened(entropy=0.6)):
        levels = objective.levels(7)
        assert levels.top + 6 * levels.rest == pytest.approx(1, abs=1e-12)


def test_sharpened_labels_leave_the_loss_and_the_pull_finite():
    loss = SoftenedLoss(Softened(smoothing=-0.5).levels(CLASSES))
    outputs = torch.tensor([[1e4, 0.0, -1e4, 5.0]])
    y = torch.tensor([0])
    assert abs(float(loss.value(outputs, y))) < 100
    assert float(loss.gradient([outputs], y[None])[0].abs().max()) < 1e-6


def test_a_strong_penalty_makes_answers_uniform():
    outputs, y = logits(32, CLASSES).requires_grad_(), torch.arange(32) % CLASSES
    loss, step = SoftenedLoss(Softened(penalty=200.0).levels(CLASSES)), torch.optim.Adam([outputs], 0.05)
    for _ in range(600):
        step.zero_grad()
        loss.value(outputs, y).backward()
        step.step()
    assert float((outputs.detach().softmax(1) - 1 / CLASSES).abs().max()) < 0.01


@settings(max_examples=60, deadline=None)
@given(st.floats(0.02, 0.98), st.integers(2, 200))
def test_confident_labels_have_the_entropy_asked_for_and_no_more(share, classes):
    top = confident(share, classes)
    rest = (1 - top) / (classes - 1)
    entropy = -top * math.log(top) - (1 - top) * math.log(rest)
    assert entropy == pytest.approx(share * math.log(classes), abs=1e-6)
    assert top > 1 / classes


def by_hand(objective, epoch, outputs, y):
    """Return RelaxLoss of one batch in the words of the paper, or of the authors' code."""
    losses = F.cross_entropy(outputs, y, reduction="none")
    mean = losses.mean()
    if epoch % 2 == 0:
        return (mean - objective.level).abs() + objective.level * (1 if mean < objective.level else -1) * 0
    if mean > objective.level:
        return mean
    own = outputs.softmax(1).gather(1, y[:, None])
    own = own if objective.flatten == "reference" else own.detach()
    own = own.clamp(max=objective.upper)
    hot = F.one_hot(y, CLASSES)
    soft = hot * own + (1 - hot) * (1 - own) / (CLASSES - 1)
    towards = -(soft * outputs.log_softmax(1)).sum(1)
    if objective.flatten == "paper":
        return towards.mean()
    return ((outputs.argmax(1) != y) * towards - losses).mean()


@pytest.mark.parametrize("epoch", EPOCHS)
@pytest.mark.parametrize("flatten", ["paper", "reference"])
@pytest.mark.parametrize("level", [0.01, 2.0, 50.0])
@pytest.mark.parametrize("upper", [1.0, 0.3])
def test_relaxloss_takes_the_branch_of_its_epoch_and_loss(epoch, flatten, level, upper):
    objective = Relaxed(level=level, upper=upper, flatten=flatten)
    outputs, y = logits(16, CLASSES, spread=1.5).requires_grad_(), torch.arange(16) % CLASSES
    wanted = torch.autograd.grad(by_hand(objective, epoch, outputs, y), outputs)[0]
    found = RelaxedLoss(objective).at(epoch).gradient(outputs.detach()[None], y[None])[0]
    torch.testing.assert_close(found, wanted)


def test_relaxloss_of_single_records_owes_nothing_to_the_others():
    loss = RelaxedLoss(Relaxed(level=0.7, per_record=True), 1)
    outputs, y = logits(6, CLASSES), torch.arange(6) % CLASSES
    alone = [loss.gradient(outputs[None, k : k + 1], y[None, k : k + 1])[0][0] for k in range(6)]
    torch.testing.assert_close(loss.gradient(outputs[None], y[None])[0] * 6, torch.stack(alone))
    together = RelaxedLoss(Relaxed(level=1.0), 0)
    other = outputs.clone()
    other[torch.arange(1, 6), y[1:]] += 50  # so sure that the mean falls below the level
    first = [together.gradient(x[None], y[None])[0][0] for x in (outputs, other)]
    assert not torch.allclose(*first)


def test_blends_of_one_kind_are_plain_training():
    outputs, y = logits(2, 5, CLASSES), torch.from_numpy(np.random.default_rng(3).integers(0, CLASSES, (2, 5)))
    order, loss = torch.tensor([3, 1, 0, 4, 2]), CrossEntropy()
    whole = mixing.gradient(loss, outputs, y, [Blend(1.0, order)] * 2)
    none = mixing.gradient(loss, outputs, y, [Blend(0.0, order)] * 2)
    torch.testing.assert_close(whole, loss.gradient(outputs, y))
    torch.testing.assert_close(none, loss.gradient(outputs, y[:, order]))
    torch.testing.assert_close(mixing.value(loss, outputs[0], y[0], Blend(1.0, order)), loss.value(outputs[0], y[0]))
    assert torch.equal(mixing.blended(outputs[0], Blend(0.0, order)), outputs[0][order])


def test_blends_come_from_their_beta_and_their_seed():
    first, again = Mixer(1, 0.4), Mixer(1, 0.4)
    drawn = [first.draw(7) for _ in range(4000)]
    shares = np.array([blend.share for blend in drawn])
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert np.var(shares) == pytest.approx(0.25 / 1.8, abs=0.01)
    twice = again.draw(7)
    assert (twice.share, twice.partners.tolist()) == (drawn[0].share, drawn[0].partners.tolist())
    assert sorted(twice.partners.tolist()) == list(range(7))
    with pytest.raises(ConfigError, match="codes"):
        mixing.blended(torch.arange(3), twice)


def pool(seed=0, n=90, features=12):
    random = np.random.default_rng(seed)
    y = random.integers(0, CLASSES, n)
    centres = random.normal(0, 1, (CLASSES, features))
    x = (centres[y] + random.normal(0, 1, (n, features))).astype(np.float32)
    return Records(x, y.astype(np.int64), np.arange(n), None, tuple("abcd"))


class Strange(nn.Module):
    """Control flow on values: trained by the loop that differentiates by itself."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, CLASSES)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else self.layer(x) * 1.0


def plain():
    return nn.Sequential(nn.Linear(12, CLASSES))


@pytest.mark.parametrize("changes", [
    {"loss": Softened(smoothing=0.1, penalty=0.1)},
    {"loss": Relaxed(level=1.0)},
    {"loss": Relaxed(level=1.0, flatten="reference", upper=0.3)},
    {"mixup": 0.7},
    {"mixup": 0.7, "loss": Softened(smoothing=0.1)},
    {"stopping": Stopping(rows=tuple(range(60, 90)), patience=1)},
    {"augment": TableNoise("resample", 0.2, tuple(range(60, 90)))},
], ids=str)  # fmt: skip
def test_stacked_and_automatic_training_agree_and_grouping_changes_no_bit(changes):
    records, rows = pool(), [np.arange(40) + k for k in range(3)]
    common = {"epochs": 6, "batch_size": 16, "lr": 0.3, "device": "cpu", **changes}
    recipe = TorchRecipe(model=plain, **common)
    together = recipe.fit_many(records, rows, [0, 1, 2])
    for k, target in enumerate(together):
        alone = recipe.fit(records, rows[k], k)
        assert {n: a.tobytes() for n, a in target.state().items()} == {n: a.tobytes() for n, a in alone.state().items()}
    plainly = TorchRecipe(model=Strange, **common).fit(records, rows[0], 0).state()
    for one, other in zip(together[0].state().values(), plainly.values(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_best_weights_are_those_of_the_lowest_loss_before_patience_ran_out():
    best = Best(Stopping(rows=(0,), patience=2, margin=0.05))
    for k, loss in enumerate([1.0, 0.5, 0.48, math.inf]):
        assert not best.over
        best.see(loss, lambda k=k: k)
    assert (best.epoch, best.state, best.over, len(best.losses)) == (1, 1, True, 4)


def validation_losses(recipe, records, rows, kept):
    """Return the plain loss on ``kept`` after every epoch of the recipe without early stopping."""
    found = []
    y = torch.from_numpy(records.y[kept])
    recipe.follow(records, rows, 0, kept, lambda o: found.append(float(F.cross_entropy(torch.from_numpy(o.values), y))))
    return found


def stopping_case(model):
    records, rows, kept = pool(n=120), np.arange(40), np.arange(60, 120)
    return (
        records,
        rows,
        kept,
        TorchRecipe(model=model, epochs=40, lr=0.2, batch_size=16, schedule="constant", weight_decay=0.0, device="cpu"),
    )


@pytest.mark.parametrize("model", ["mlp", plain, Strange], ids=["mlp", "plain", "strange"])
def test_stopping_restores_the_best_epoch_and_stops_where_patience_ends(model):
    from dataclasses import replace

    records, rows, kept, recipe = stopping_case(model)
    losses = validation_losses(recipe, records, rows, kept)
    patience, best = 3, 0
    while best + 1 < len(losses) and min(losses[best + 1 : best + 1 + patience]) < losses[best]:
        best += 1 + int(np.argmax(np.array(losses[best + 1 :]) < losses[best]))
    assert best + patience < len(losses) - 1  # or there would be nothing to stop
    stopped = replace(recipe, stopping=Stopping(rows=tuple(map(int, kept)), patience=patience))
    answers = torch.from_numpy(stopped.fit(records, rows, 0).query(records.x[kept], Access.SCORE).values)
    assert float(F.cross_entropy(answers, torch.from_numpy(records.y[kept]))) == pytest.approx(losses[best], abs=1e-5)
    followed = validation_losses(stopped, records, rows, kept)
    assert followed[: best + 1] == pytest.approx(losses[: best + 1], abs=1e-5)
    assert followed[best:] == [followed[best]] * (len(losses) - best)


def test_relaxed_training_ends_near_its_level_where_plain_training_goes_below():
    records, rows, level = pool(n=64), np.arange(64), 0.6
    y = torch.from_numpy(records.y)
    found = {}
    for name, loss in (("plain", "auto"), ("relaxed", Relaxed(level=level))):
        recipe = TorchRecipe(
            model="logistic", epochs=201, lr=0.3, batch_size=64, momentum=0.0, weight_decay=0.0, loss=loss, device="cpu"
        )
        answers = recipe.fit(records, rows, 0).query(records.x, Access.SCORE).values
        found[name] = float(F.cross_entropy(torch.from_numpy(answers), y))
    assert found["plain"] < 0.5
    assert found["relaxed"] == pytest.approx(level, rel=0.05)


def test_noise_changes_its_share_of_the_features_to_values_that_occur():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 6))).float()
    x[:, :3] = (x[:, :3] > 0).float()
    generator = torch.Generator().manual_seed(0)
    batch = x.repeat(100, 1)
    for kind, columns in (("bits", range(3)), ("mixed", range(6)), ("resample", range(6))):
        found = TableNoise(kind, 0.1, tuple(range(20, 40))).bound(x)(batch, generator)
        changed = (found != batch).double().mean(0)
        for f in range(6):
            if f in columns and (kind, f < 3) != ("resample", True):
                assert changed[f] == pytest.approx(0.1, abs=0.03)
            if f not in columns:
                assert changed[f] == 0
            assert set(found[:, f].tolist()) <= set(x[:, f].tolist())
    with pytest.raises(ConfigError, match="two values"):
        TableNoise("bits", 0.1).bound(x[:, 3:])

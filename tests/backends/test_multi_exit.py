"""Networks that records may leave early: what they answer, what they run, and how they are trained."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from vestige.backends.multi_exit import MultiExit, multi_exit  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.errors import ConfigError  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.signals.internal.inside import inside  # noqa: E402
from vestige.signals.timing import has_channel  # noqa: E402
from vestige.target import Access  # noqa: E402
from vestige.testing import check_target  # noqa: E402

RECIPE = TorchRecipe(model="multi_exit", hidden=(16, 12, 8), confidence=0.7, epochs=8, batch_size=16, lr=0.1)


def blobs(n=200, seed=0):
    g = np.random.default_rng(seed)
    y = g.integers(0, 3, n)
    x = g.normal(size=(n, 5)) + 1.5 * np.eye(3, 5)[y]
    return Records(x.astype(np.float32), y.astype(np.int64), np.arange(n), None, tuple("abc"))


def trained(recipe=RECIPE):
    records = blobs()
    return records, recipe.fit(records, np.arange(100), 3)


def one_by_one(module, x):
    """The slow way: every exit of every record, and the first that is sure."""
    answers = [each.detach() for each in module.all_exits(x)]
    left = []
    for row in range(len(x)):
        sure = [bool(torch.softmax(answer[row], 0).max() >= module.confidence) for answer in answers]
        left.append(sure.index(True) if True in sure else len(sure) - 1)
    return torch.stack([answers[depth][row] for row, depth in enumerate(left)]), torch.tensor(left)


def test_a_record_leaves_at_the_first_exit_that_is_sure():
    records, target = trained()
    x = target.prepared(records.x)
    with torch.no_grad():
        logits, left = target.module.early(x)
    expected, places = one_by_one(target.module, x)
    assert set(places.tolist()) == {0, 1, 2}
    assert torch.equal(left, places)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    answers = target.query(records.x, Access.SCORE).values
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-6)
    check_target(target, records, tolerance=1e-4)


def test_blocks_behind_the_exit_are_not_run():
    records, target = trained()
    module = target.module
    x = target.prepared(records.x)
    _, left = one_by_one(module, x)
    runs = []
    handles = [
        block.register_forward_hook(lambda _, given, __, depth=depth: runs.append((depth, len(given[0]))))
        for depth, block in enumerate(module.blocks)
    ]
    for depth in range(3):
        runs.clear()
        row = int(torch.nonzero(left == depth)[0])
        target.query(records.x[row : row + 1], Access.SCORE)
        assert runs == [(k, 1) for k in range(depth + 1)]
    runs.clear()
    target.query(records.x, Access.SCORE)
    assert runs == [(k, int((left >= k).sum())) for k in range(3)]
    for handle in handles:
        handle.remove()


def test_it_is_trained_by_the_sum_of_the_exits_losses():
    """One step of plain gradient descent is the step along the gradient of that sum."""
    records = blobs(16)
    recipe = replace(RECIPE, epochs=1, batch_size=16, momentum=0.0, weight_decay=0.0, schedule="constant", lr=0.5)
    rows = np.arange(16)
    before = replace(recipe, lr=1e-30).fit(records, rows, 5)
    after = recipe.fit(records, rows, 5)
    module = before.module.train()
    answers = module(before.prepared(records.x))
    assert [tuple(answer.shape) for answer in answers] == [(16, 3)] * 3
    sum(F.cross_entropy(answer, torch.from_numpy(records.y)) for answer in answers).backward()
    for (name, p), q in zip(module.named_parameters(), after.module.parameters(), strict=True):
        torch.testing.assert_close(p.detach() - 0.5 * p.grad, q, rtol=1e-4, atol=1e-6, msg=name)
        assert p.grad.abs().sum() > 0


def test_the_same_seed_gives_the_same_model_and_a_stored_one_answers_alike():
    records, target = trained()
    again = RECIPE.fit_many(records, [np.arange(100), np.arange(50, 150)], [3, 4])
    for name, values in target.state().items():
        np.testing.assert_array_equal(values, again[0].state()[name])
    restored = RECIPE.restore(records, target.state())
    np.testing.assert_array_equal(
        restored.query(records.x, Access.SCORE).values, target.query(records.x, Access.SCORE).values
    )


def test_its_latency_can_be_read_record_by_record():
    records, target = trained()
    assert has_channel(target)
    outputs, seconds = target.timed(records.x[:20], Access.SCORE)
    np.testing.assert_allclose(outputs.values, target.query(records.x[:20], Access.SCORE).values, rtol=1e-4, atol=1e-5)
    assert seconds.shape == (20,)
    assert (seconds > 0).all()


def test_white_box_signals_look_through_the_whole_network():
    records, target = trained()
    found = inside(target, records, np.arange(40))
    last = target.module.all_exits(target.prepared(records.x[:40]))[-1].detach()
    np.testing.assert_allclose(found.log_probabilities, torch.log_softmax(last, 1), rtol=1e-4, atol=1e-4)
    assert found.lengths.shape == (40, 4)


def test_snapshots_of_its_training_end_in_the_model():
    records, target = trained()
    seen = []
    RECIPE.follow(records, np.arange(100), 3, np.arange(30), lambda outputs: seen.append(outputs.values))
    assert len(seen) == 8
    np.testing.assert_allclose(seen[-1], target.query(records.x[:30], Access.SCORE).values, rtol=1e-4, atol=1e-5)


def test_images_are_flattened_and_blocks_of_ones_own_will_do():
    assert multi_exit((1, 4, 4), 3, hidden=[6, 5]).eval()(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    blocks = [nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Conv2d(4, 4, 3)]
    exits = [nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), nn.Sequential(nn.Flatten(), nn.LazyLinear(3))]
    own = MultiExit(blocks, exits, confidence=0.5)
    assert [tuple(answer.shape) for answer in own.train()(torch.zeros(5, 1, 8, 8))] == [(5, 3)] * 2
    assert own.eval()(torch.randn(5, 1, 8, 8)).shape == (5, 3)
    assert own(torch.zeros(0, 1, 8, 8)).shape == (0, 3)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ConfigError, match="one exit for each block, got 1 blocks and 0 exits"):
        MultiExit([nn.Identity()], [])
    with pytest.raises(ConfigError, match="a regression has no classes"):
        multi_exit((5,), 1)
    with pytest.raises(ConfigError, match="at least one hidden layer"):
        multi_exit((5,), 3, hidden=())
    for confidence in (0.0, 1.0, "much"):
        with pytest.raises(ConfigError, match="confidence to be a number above 0 and below 1"):
            TorchRecipe(model="multi_exit", confidence=confidence)
    with pytest.raises(ConfigError, match="'mlp' has no option 'confidence'"):
        TorchRecipe(model="mlp", confidence=0.5).fit(blobs(), np.arange(9), 0)
    with pytest.raises(ConfigError, match="belongs to named models"):
        TorchRecipe(model=lambda: nn.Linear(5, 3), confidence=0.5)


def test_recipes_without_the_option_keep_their_fingerprint():
    assert "confidence" not in json.loads(TorchRecipe().fingerprint())
    assert RECIPE.fingerprint() != replace(RECIPE, confidence=0.8).fingerprint()

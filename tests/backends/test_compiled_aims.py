"""What defences change, in compiled networks: the same as by automatic differentiation, given the same draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from reference import plain_aims  # noqa: E402
from vestige.backends.compiled.judging import Aims, Draws, plain_loss  # noqa: E402
from vestige.backends.compiled.network import Network  # noqa: E402
from vestige.backends.compiled.setup import _data  # noqa: E402
from vestige.backends.compiled.training import Steps, answers, train  # noqa: E402
from vestige.backends.objectives import Levels, Relaxed, Softened  # noqa: E402
from vestige.backends.stopping import Best, Stopping  # noqa: E402

PLAIN = Steps(
    optimiser="sgd", lr=0.1, momentum=0.9, decay=5e-4, nesterov=False, loss="cross_entropy", epochs=4, batch=16,
    multiplier=lambda done: 1 - 0.5 * done,
)  # fmt: skip
SOFT = Softened(smoothing=0.2, penalty=0.3).levels(5)


def network(*units, activation="relu"):
    return Network(units, tuple(str(2 * k) for k in range(len(units) - 1)), activation)


def pool(features, classes, kind, n=90):
    random = np.random.default_rng(0)
    x = random.random((n, features)) < 0.15 if kind == "ones" else random.normal(size=(n, features))
    return x.astype(np.float32), random.integers(0, classes, n)


def close(net, steps, kind="floats"):
    x, y = pool(net.units[0], net.units[-1], kind)
    rows = np.arange(len(x) - 7)
    data = _data(x, 1.0, y, False)
    found, wanted = train(net, steps, data, rows, 5), plain_aims.train(net, steps, x, y, rows, 5)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, atol=2e-4, rtol=2e-4, err_msg=name)
    return found


@pytest.mark.parametrize("levels", [
    SOFT, Softened(smoothing=-0.3).levels(5), Softened(entropy=0.6, penalty=0.02, per_class=True).levels(5),
], ids=str)  # fmt: skip
def test_softened_labels(levels):
    close(network(20, 33, 5), replace(PLAIN, loss="softened", aims=Aims(softened=levels)))


def test_sharpened_labels_stop_pulling_at_the_floor():
    steps = replace(PLAIN, loss="softened", lr=2.0, momentum=0.0, epochs=30, multiplier=lambda _: 1.0)
    steps = replace(steps, aims=Aims(softened=Softened(smoothing=-0.9).levels(5)), decay=0.0)
    net = network(90, 5)
    x, y = np.eye(90, dtype=np.float32), np.arange(90) % 5
    state = train(net, steps, _data(x, 1.0, y, False), np.arange(90), 0)
    logs = torch.from_numpy(answers(net, net.pack(state), x)).log_softmax(1)
    assert float(logs.min()) > -25


@pytest.mark.parametrize("flatten", ["paper", "reference"])
@pytest.mark.parametrize(("level", "upper"), [(0.0, 1.0), (1.5, 1.0), (50.0, 0.15)])
@pytest.mark.parametrize("per_record", [False, True])
def test_relaxed_losses(flatten, level, upper, per_record):
    relaxed = Relaxed(level=level, upper=upper, flatten=flatten, per_record=per_record)
    # Ever lower losses are unstable, and so is their comparison.
    close(network(20, 33, 5), replace(PLAIN, loss="relaxed", lr=0.02, aims=Aims(relaxed=relaxed)))


@pytest.mark.parametrize("units", [(20, 33, 17, 5), (40, 150, 5), (12, 5)])
@pytest.mark.parametrize("kind", ["floats", "ones"])
def test_blended_batches(units, kind):
    steps = replace(PLAIN, aims=Aims(mixup=0.6))
    blended = close(network(*units), steps, kind)
    plain = train(network(*units), PLAIN, _data(*_given(units, kind), False), np.arange(83), 5)
    assert not np.allclose(blended["0.weight"], plain["0.weight"], atol=1e-3)


def _given(units, kind):
    x, y = pool(units[0], units[-1], kind)
    return x, 1.0, y


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("kind", ["floats", "ones"])
def test_dropped_units(activation, kind):
    close(network(20, 33, 17, 5, activation=activation), replace(PLAIN, aims=Aims(dropout=0.3)), kind)


def test_all_at_once():
    aims = Aims(softened=SOFT, mixup=1.0, dropout=0.5)
    close(network(20, 33, 17, 5), replace(PLAIN, loss="softened", aims=aims), "ones")


def test_masks_keep_their_share_and_are_new_in_every_step_and_layer():
    keep, keys = 0.7, [Draws(Aims(dropout=0.3), s).epoch(0, np.arange(4), 4).key for s in range(3)]
    masks = [plain_aims.mask(k, t, layer, 60, 50, keep) > 0 for k in keys for t in (0, 1) for layer in (0, 1)]
    for one in masks:
        assert float(one.float().mean()) == pytest.approx(keep, abs=0.03)
    for k, one in enumerate(masks):
        for other in masks[:k]:
            assert float((one == other).float().mean()) == pytest.approx(keep**2 + (1 - keep) ** 2, abs=0.04)


def test_the_loss_that_stops_is_the_plain_one():
    x, y = pool(12, 5, "floats")
    rows, logits = np.arange(30), np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32)
    data, labels = _data(x, 1.0, y, False), torch.from_numpy(y[:30])
    for kind in ("cross_entropy", "softened", "relaxed"):
        wanted = float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), labels))
        assert plain_loss(kind, logits, data, rows) == pytest.approx(wanted, abs=1e-6)
    hot = np.eye(5)[y[:30]]
    assert plain_loss("one_hot", logits, data, rows) == pytest.approx(float(np.mean((logits - hot) ** 2)), abs=1e-6)


def test_the_best_epoch_is_kept_and_later_ones_are_not_trained():
    x, y = pool(12, 5, "floats")
    data, seen = _data(x, 1.0, y, False), []
    best = Best(Stopping(rows=tuple(range(60, 90)), patience=3))
    steps = replace(PLAIN, epochs=60, stopping=best.stopping)
    net = network(12, 30, 5)
    found = train(net, steps, data, np.arange(60), 0, on_epoch=lambda _, state: seen.append(state), best=best)
    assert len(seen) == len(best.losses) == best.epoch + 4 < 60
    assert best.losses[best.epoch] == min(best.losses)
    for name, array in seen[best.epoch].items():
        np.testing.assert_array_equal(found[name], array)


def test_levels_of_one_give_plain_training():
    net, (x, y) = network(12, 30, 5), pool(12, 5, "floats")
    data = _data(x, 1.0, y, False)
    steps = replace(PLAIN, loss="softened", aims=Aims(softened=Levels(1.0, 0.0, 0.0)))
    plain, found = (train(net, one, data, np.arange(60), 0) for one in (PLAIN, steps))
    for name, array in plain.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5)

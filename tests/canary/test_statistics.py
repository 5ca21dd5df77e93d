"""Running statistics of batch normalisation give their batch away, noise on the gradients or not."""

from __future__ import annotations

import numpy as np
import pytest

from vestige.canary import audit
from vestige.errors import UsageError
from vestige.records import Records

torch = pytest.importorskip("torch")
nn = torch.nn
RATE, WIDTH, UNITS = 0.1, 40, 30

from vestige.canary.statistics import BatchStatistics, normalising  # noqa: E402  (needs torch)


def network(momentum=0.1):
    return nn.Sequential(
        nn.Linear(WIDTH, UNITS), nn.BatchNorm1d(UNITS, affine=False, momentum=momentum), nn.ReLU(), nn.Linear(UNITS, 2)
    )


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_the_batchs_mean_follows_from_two_running_means(momentum):
    torch.manual_seed(0)
    model, canaries = network(momentum), torch.randn(200, WIDTH)
    watched = BatchStatistics(model, canaries, batch=20)
    model.train()
    for _ in range(3):
        inside = torch.randperm(200)[:20]
        model(canaries[inside])
        seen = watched.seen()
    first = model[0](canaries).detach().double().numpy()
    away = first - first.mean(axis=0)
    mean = first[inside].mean(axis=0) - first.mean(axis=0)
    exact = away @ np.linalg.solve(np.cov(away, rowvar=False), mean)
    assert np.corrcoef(seen.values * seen.shift, exact)[0, 1] > 0.999
    outside = np.setdiff1d(np.arange(200), inside.numpy())
    assert seen.values[inside].mean() > seen.values[outside].mean() + 0.5


def test_canaries_in_the_batch_stand_out_as_much_as_is_said():
    """The whole batch is drawn afresh many times: inside, values lie a shift above, with the noise of one."""
    torch.manual_seed(0)
    model, canaries = network(), torch.randn(2000, WIDTH)
    watched = BatchStatistics(model, canaries, batch=20)
    model.train()
    leads, shifts, rest = [], [], []
    for _ in range(40):
        inside = torch.rand(2000) < 0.01
        if not inside.any():
            continue
        model(canaries[inside])
        seen, here = watched.seen(), inside.numpy()
        leads += (seen.values[here] - np.median(seen.values)).tolist()
        shifts += (seen.shift[here] * 20 / here.sum()).tolist()
        rest.append(np.median(np.abs(seen.values[~here])) * 1.4826 / np.sqrt(20 / here.sum()))
    assert np.mean(leads) == pytest.approx(np.mean(shifts), rel=0.1)
    assert np.mean(rest) == pytest.approx(1.0, abs=0.15)


def training(layers):
    """Return a training whose gradients are all noise, so that only the statistics tell."""

    def train(x, y, seed, steps):
        torch.manual_seed(seed)
        model, x = layers(), torch.from_numpy(x)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        steps.watch(model, optimizer, rate=RATE, shown="statistics")
        for _ in range(150):
            batch = torch.rand(len(x)) < RATE
            model.train()
            model(x[batch])
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        return model.eval()

    return train


def test_an_audit_reads_them(tmp_path):
    random = np.random.default_rng(0)
    records = Records.build(random.standard_normal((300, WIDTH)).astype(np.float32), random.integers(0, 2, 300))
    log = audit(training(network), records, count=100, score="gradient", store=tmp_path)
    assert log.attacks[0].auc.value > 0.8
    with pytest.raises(UsageError, match="running batch statistics, got one without"):
        audit(
            training(lambda: nn.Sequential(nn.Linear(WIDTH, 2))), records, count=100, score="gradient", store=tmp_path
        )


def test_only_layers_with_a_running_mean_count():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False), nn.LayerNorm(3))
    assert [name for name, _ in normalising(model)] == ["0"]

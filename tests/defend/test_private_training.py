"""DP-SGD step by step: cut sums against one record at a time, noise, samples, ledger, and an audit from inside."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")
pytest.importorskip("dp_accounting")
pytest.importorskip("opacus")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from reference.slow_clipping import clipped_sum  # noqa: E402
from vestige.backends.ensemble import structure  # noqa: E402
from vestige.backends.ensemble.store import gather  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.backends.torch_setup import Setup  # noqa: E402
from vestige.defend.private.clipping import Fixed, Quantile, shares, split_noise  # noqa: E402
from vestige.defend.private.dp_batched import Network, initialised, own_gradients, readable, train  # noqa: E402
from vestige.defend.private.dp_opacus import train_one  # noqa: E402
from vestige.defend.private.ledger import entries, steps  # noqa: E402
from vestige.defend.private.randomness import FIRST, WORDS, Randomness, poisson  # noqa: E402
from vestige.defend.private.terms import Terms  # noqa: E402
from vestige.errors import ConfigError  # noqa: E402
from vestige.metrics.epsilon import Coins, gdp_fit  # noqa: E402
from vestige.records import Records  # noqa: E402

Factory = Callable[[], nn.Module]


class Residual(nn.Module):
    """Convolutions with a stride, groups and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.last = nn.Linear(4 * 3 * 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm(self.first(x)))
        y = F.max_pool2d(F.relu(self.second(y) + y), 2)
        answer: torch.Tensor = self.last(y.flatten(1))
        return answer


class Words(nn.Module):
    """An embedding, a linear layer at every position, and a layer normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 5, padding_idx=0)
        self.each = nn.Linear(5, 4)
        self.norm = nn.LayerNorm(4)
        self.last = nn.Linear(6 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(torch.tanh(self.norm(self.each(self.table(x)))).flatten(1))
        return answer


def images(n: int) -> torch.Tensor:
    return torch.randn(n, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def rows(n: int) -> torch.Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(0))


def words(n: int) -> torch.Tensor:
    return torch.randint(0, 7, (n, 6), generator=torch.Generator().manual_seed(0))


NETWORKS: dict[str, tuple[Factory, Callable[[int], torch.Tensor]]] = {
    "logistic": (lambda: nn.Sequential(nn.Linear(6, 3)), rows),
    "perceptron": (
        lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 3)),
        rows,
    ),
    "without bias": (lambda: nn.Sequential(nn.Linear(6, 9, bias=False), nn.ReLU(), nn.Linear(9, 3)), rows),
    "layer norm": (lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)), rows),
    "small convolution": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3, stride=2, dilation=1, bias=False), nn.Flatten(), nn.Linear(12, 3)),
        images,
    ),
    "large convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2), nn.Flatten(), nn.Linear(24, 3)
        ),
        images,
    ),
    "residual": (Residual, images),
    "words": (Words, words),
}


def planned(factory: Factory, x: torch.Tensor, y: torch.Tensor, **changes: Any) -> Any:
    """Return the plan of a training of such networks, and their structure."""
    options = {"epochs": 1, "batch_size": 8, "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    recipe = TorchRecipe(model=factory, **{**options, **changes})
    records = Records.build(np.zeros(x.shape, x.numpy().dtype), y.numpy())
    plan = dataclasses.replace(Setup.of(recipe, records).plan, x=x, y=y)
    return plan, structure(plan)


def labels(n: int) -> torch.Tensor:
    return torch.arange(n) % 3


def cut(factory: Factory, x: torch.Tensor, y: torch.Tensor, sizes: list[int], limit: float) -> tuple[Network, Any]:
    """Return the network of one model per entry of ``sizes`` with its cut sums, and the records' norms."""
    plan, graph = planned(factory, x, y)
    assert readable(graph)
    with torch.no_grad():
        modules = [initialised(plan, seed) for seed in range(len(sizes))]
        network = Network(graph, gather(modules, plan.device), [])
        network.backward(own_gradients(plan, network.forward(x, sizes), y))
        norms = network.norms()
        network.add(shares(norms, limit))
    return network, (norms, modules)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("limit", [0.3, 1e9])
def test_cut_sums_are_those_of_one_record_at_a_time(name: str, limit: float) -> None:
    factory, data = NETWORKS[name]
    x, y, sizes = data(12), labels(12), [5, 0, 7]
    network, (norms, modules) = cut(factory, x, y, sizes, limit)
    for m, (own, target) in enumerate(zip(x.split(sizes), y.split(sizes), strict=True)):
        wanted, lengths = clipped_sum(modules[m], own, target, F.cross_entropy, limit)
        for parameter, sums in network.sums.items():
            assert torch.allclose(sums[m].double(), wanted[parameter], atol=1e-6), (name, parameter)
        assert norms.split(sizes)[m].double() == pytest.approx(lengths.double(), abs=1e-6)
    assert name in ("logistic", "layer norm") or bool((norms > 0.3).any())


@pytest.mark.parametrize("name", ["perceptron", "residual", "words"])
def test_no_record_moves_the_sum_by_more_than_the_norm(name: str) -> None:
    factory, data = NETWORKS[name]
    x, y = data(9), labels(9)
    if x.is_floating_point():
        x[0] *= 1e6
        x[1].view(-1)[0] = math.nan
        x[2].view(-1)[0] = math.inf
        x[3] *= 1e25
    x[5] = x[4]
    y[5] = y[4]
    limit = 0.5
    whole, _ = cut(factory, x, y, [9], limit)
    for i in range(9):
        rest = torch.arange(9) != i
        without, _ = cut(factory, x[rest], y[rest], [8], limit)
        moved = sum(
            float((a[0] - b[0]).double().square().sum())
            for a, b in zip(whole.sums.values(), without.sums.values(), strict=True)
        )
        assert math.sqrt(moved) <= limit * (1 + 1e-5), i
    assert all(bool(sums[0].isfinite().all()) for sums in whole.sums.values())


def terms(**changes: Any) -> Terms:
    given = {"count": 40, "rate": 0.2, "divisor": 8.0, "steps": 5, "noise": 1.0, "delta": 1e-5, "factors": (1.0,)}
    return Terms(**{**given, **changes})


def test_without_noise_and_limit_it_is_plain_descent_on_the_sum_over_the_expected_batch() -> None:
    factory, data = NETWORKS["perceptron"]
    plan, graph = planned(factory, data(40), labels(40), momentum=0.9, weight_decay=1e-3)
    mine = np.arange(3, 40)
    found = train(plan, graph, [initialised(plan, 4)], terms(noise=0.0), [Fixed(1e9)], [mine], [Randomness(4)])[0]
    module = initialised(plan, 4)
    optimiser = torch.optim.SGD(module.parameters(), 0.1, 0.9, weight_decay=1e-3)
    for batch in poisson(mine, 0.2, 5, Randomness(4).generator("sample")):
        optimiser.zero_grad()
        (F.cross_entropy(module(plan.x[batch]), plan.y[batch], reduction="sum") / 8).backward()
        optimiser.step()
    for name, parameter in module.named_parameters():
        assert torch.allclose(found[name], parameter, atol=1e-6)


@pytest.mark.parametrize("name", ["perceptron", "residual"])
@pytest.mark.parametrize("mode", ["hooks", "functorch", "ghost"])
@pytest.mark.parametrize("adaptive", [False, True])
def test_all_engines_take_the_same_noisy_steps(name: str, mode: Any, adaptive: bool) -> None:
    factory, data = NETWORKS[name]
    plan, graph = planned(factory, data(40), labels(40), optimizer="adam", lr=0.01, epochs=2)
    hard, mine = terms(rate=0.05, divisor=2.0, factors=(1.0, 0.5)), np.arange(40)
    plan.x[7].view(-1)[0] = math.nan

    def clip() -> Any:
        return Quantile(0.2, 0.5, 0.2, 2.0, lambda: 0.3) if adaptive else Fixed(0.2)

    batched = train(plan, graph, [initialised(plan, 1)], hard, [clip()], [mine], [Randomness(1)])[0]
    alone = train_one(plan, initialised(plan, 1), hard, clip(), mine, Randomness(1), mode)
    sizes = [len(batch) for batch in poisson(mine, 0.05, 10, Randomness(1).generator("sample"))]
    assert 0 in sizes, "an empty batch is among those compared"
    for parameter, value in batched.items():
        # Adam divides by the size of a gradient, and so enlarges the last bits of small ones.
        assert torch.allclose(value, alone[parameter], atol=2e-5), parameter


class Cancelling(nn.Module):
    """A linear layer at two positions whose answers are added up: what a record adds there may cancel out."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Linear(40, 30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.each(x.view(-1, 2, 40)).flatten(1)
        return answer


@pytest.mark.parametrize("gap", [1e-4, 1e-5, 1e-7])
def test_a_record_whose_terms_nearly_cancel_out_is_cut_all_the_same(gap: float) -> None:
    """Its norm is the small difference of large numbers, which single precision loses."""
    torch.manual_seed(0)
    direction = torch.randn(40)
    plain = 1e6 * torch.cat([direction, -direction * (1 + gap)])[None]
    plan, graph = planned(Cancelling, plain.repeat(240, 1), torch.arange(240) % 60)
    assert readable(graph)
    with torch.no_grad():
        network = Network(graph, gather([initialised(plan, 0)], plan.device), [])
        network.forward(plain, [1])
        network.backward(torch.ones(1, 60) / 8)
        norms = network.norms()
        network.add(shares(norms, 1.0))
    moved = math.sqrt(sum(float(own[0].double().square().sum()) for own in network.sums.values()))
    assert moved <= 1.0 + 1e-5


def test_as_many_steps_are_taken_as_the_ledger_counts_empty_batches_too() -> None:
    from torch.optim.optimizer import register_optimizer_step_post_hook

    x, y, mine = rows(40), labels(40), np.arange(40)
    hard = terms(rate=0.02, divisor=1.0, steps=7, factors=(1.0, 0.5, 0.5))
    assert any(not len(batch) for batch in poisson(mine, 0.02, 21, Randomness(3).generator("sample")))
    assert steps(entries(hard.event)) == 21
    plan, graph = planned(lambda: nn.Sequential(nn.Linear(6, 3)), x, y, epochs=3)
    taken: list[int] = []
    hook = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    try:
        train_one(plan, initialised(plan, 1), hard, Fixed(1.0), mine, Randomness(3))
    finally:
        hook.remove()
    assert len(taken) in (21, 42)  # torch may count Opacus' optimiser and the one inside it
    # The batched engine draws noise once for each step: with nothing to learn from, its steps add up to so much.
    flat = dataclasses.replace(plan, x=torch.zeros_like(plan.x))
    quiet = terms(rate=1e-12, divisor=8.0, steps=7, factors=(1.0, 0.5, 0.5))
    far = []
    for seed in range(400):
        module = nn.Sequential(nn.Linear(6, 3))
        before = torch.cat([p.detach().flatten() for p in module.parameters()])
        found = train(flat, graph, [module], quiet, [Fixed(1.0)], [mine], [Randomness(seed)])[0]
        far.append((torch.cat([p.flatten() for p in found.values()]) - before).numpy() * 8 / 0.1)
    # 7 steps of deviation 1 and 14 of deviation 1/2.
    assert np.array(far).std() == pytest.approx(math.sqrt(7 + 14 / 4), rel=0.03)


def test_dropout_draws_for_each_model_by_itself() -> None:
    def factory() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, 3))

    plan, graph = planned(factory, rows(40), labels(40))
    lists = [np.arange(30), np.arange(5, 40)]
    random = [Randomness(1), Randomness(2)]
    modules = [initialised(plan, 1), initialised(plan, 2)]
    both = train(plan, graph, modules, terms(), [Fixed(1.0)] * 2, lists, random)
    second = train(plan, graph, [initialised(plan, 2)], terms(), [Fixed(1.0)], lists[1:], random[1:])[0]
    assert all(torch.equal(both[1][name], value) for name, value in second.items())


def test_the_noise_has_the_size_that_is_accounted_for_and_is_drawn_anew() -> None:
    plan, graph = planned(lambda: nn.Sequential(nn.Linear(6, 3)), rows(40), labels(40), lr=1.0)
    empty = terms(rate=1e-12, steps=1, noise=1.5)
    draws = []
    for seed in range(2000):
        torch.manual_seed(0)  # what else draws must not matter
        module = nn.Sequential(nn.Linear(6, 3))
        before = torch.cat([p.detach().flatten() for p in module.parameters()])
        found = train(plan, graph, [module], empty, [Fixed(0.4)], [np.arange(40)], [Randomness(seed)])[0]
        draws.append((torch.cat([p.flatten() for p in found.values()]) - before).numpy() * 8)
    noise = np.array(draws)
    assert noise.std() == pytest.approx(1.5 * 0.4, rel=0.01)
    assert noise.std(0) == pytest.approx(np.full(21, 0.6), rel=0.06)
    apart = np.corrcoef(noise.T) - np.eye(21)
    assert np.abs(apart).max() < 4.5 / math.sqrt(2000)
    assert stats.kstest(noise.ravel() / 0.6, "norm").pvalue > 1e-4


def test_steps_draw_other_noise_and_releases_none_that_can_be_repeated() -> None:
    plan, graph = planned(lambda: nn.Sequential(nn.Linear(6, 3)), rows(40), labels(40), epochs=2, lr=1.0)
    seen: list[Any] = []
    empty = terms(rate=1e-12, steps=1, factors=(1.0, 1.0))

    def run(release: bool) -> Any:
        given = (plan, graph, [nn.Sequential(nn.Linear(6, 3))], empty, [Fixed(1.0)], [np.arange(40)])
        return train(*given, [Randomness(3, release)], lambda _, __, state: seen.append(state["0.weight"]))[0]

    with torch.random.fork_rng():
        torch.manual_seed(1)
        start = nn.Linear(6, 3).weight.detach()
        torch.manual_seed(1)
        first = run(False)
        torch.manual_seed(1)
        again = run(False)
        torch.manual_seed(1)
        released = run(True)
    one, two = seen[0] - start, seen[1] - seen[0]
    assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.9
    assert torch.equal(first["0.weight"], again["0.weight"])
    assert not torch.equal(first["0.weight"], released["0.weight"])


def test_a_release_draws_every_bit_of_its_generators_from_the_system() -> None:
    """Torch's own seeding keeps 32 bits, so that all noise that it can make could be tried."""
    same_low_half = [torch.Generator().manual_seed(seed) for seed in (7, 7 + 2**32)]
    assert torch.equal(*(torch.rand(4, generator=made) for made in same_low_half)), "the reason why"
    first, second = (Randomness(3, True).generator("noise") for _ in range(2))
    words = [made.get_state().numpy().view(np.uint64)[FIRST : FIRST + WORDS] for made in (first, second)]
    assert (words[0] != words[1]).all()
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words[0].astype(np.uint32), "pos": WORDS}}
    raw = twister.random_raw(2000).reshape(-1, 2).astype(np.uint64)
    drawn = torch.rand(1000, generator=first, dtype=torch.float64).numpy()
    wanted = ((raw[:, 0] << np.uint64(32) | raw[:, 1]) & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53
    other = ((raw[:, 1] << np.uint64(32) | raw[:, 0]) & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53
    assert np.array_equal(drawn, wanted) or np.array_equal(drawn, other)


def test_the_noise_of_a_release_is_normal_beyond_where_one_float_ends() -> None:
    """One float's normal number is at most √(48 ln 2) deviations; the sum of four has twice that room."""
    random = Randomness(0, True)
    noise = torch.zeros(1_000_000)
    random.normal(noise, 3.0, random.generator("noise"))
    assert float(noise.std()) == pytest.approx(3.0, rel=5e-3)
    assert stats.kstest(noise[:20_000].numpy() / 3.0, "norm").pvalue > 1e-4
    assert torch.unique(noise).numel() > 0.9 * len(noise), "and takes more values"
    random.normal(noise, 0.0, random.generator("noise"))
    assert not noise.any()


class Centred(nn.Module):
    """A module that subtracts its batch's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(x - x.mean(0))
        return answer


class Counting(nn.Module):
    """A module that keeps in a buffer what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += x.detach().sum(0)
        answer: torch.Tensor = self.last(x)
        return answer


class Constant(nn.Module):
    """A module with a buffer that never changes, a layer that it does not use, and one that it uses twice."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((6,), 0.5))
        self.first, self.unused, self.last = nn.Linear(6, 6), nn.Linear(6, 2), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(torch.tanh(self.first(torch.tanh(self.first(x * self.scale)))))
        return answer


@pytest.mark.parametrize("mode", ["hooks", "functorch", "ghost"])
@pytest.mark.parametrize(("kind", "says"), [(Centred, "depend on others"), (Counting, "buffer 'seen'")])
def test_opacus_is_not_given_modules_that_mix_records_or_keep_them(mode: Any, kind: Factory, says: str) -> None:
    plan, _ = planned(kind, rows(40), labels(40))
    with pytest.raises(ConfigError, match=says):
        train_one(plan, initialised(plan, 1), terms(), Fixed(1.0), np.arange(40), Randomness(1), mode)


@pytest.mark.parametrize("mode", ["hooks", "functorch"])
def test_opacus_cuts_what_a_shared_and_an_unused_layer_add(mode: Any) -> None:
    plan, graph = planned(Constant, rows(40), labels(40), lr=1.0)
    assert not readable(graph)
    module = initialised(plan, 1)
    whole = terms(rate=1.0, divisor=40.0, steps=1, noise=0.0)
    wanted, _ = clipped_sum(module, plan.x, plan.y, F.cross_entropy, 0.05)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    found = train_one(plan, module, whole, Fixed(0.05), np.arange(40), Randomness(1), mode)
    for name, value in before.items():
        assert torch.allclose((value - found[name]).double() * 40, wanted[name], atol=5e-6), name


def test_ghost_clipping_refuses_a_layer_that_is_used_twice() -> None:
    plan, _ = planned(Constant, rows(40), labels(40))
    with pytest.raises(ConfigError, match="tying"):
        train_one(plan, initialised(plan, 1), terms(), Fixed(1.0), np.arange(40), Randomness(1), "ghost")


def test_a_loss_that_decides_by_values_is_taken_one_record_at_a_time() -> None:
    def loss(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        plain = F.cross_entropy(outputs, y)
        return plain if float(plain) > 1.0 else 2 * plain

    plan, _ = planned(NETWORKS["perceptron"][0], rows(9), labels(9), loss=loss)
    outputs = torch.randn(9, 3, generator=torch.Generator().manual_seed(3))
    for k, found in enumerate(own_gradients(plan, outputs, plan.y)):
        leaf = outputs[k : k + 1].clone().requires_grad_()
        wanted = torch.autograd.grad(loss(leaf, plan.y[k : k + 1]), leaf)[0][0]
        assert torch.allclose(found, wanted, atol=1e-6)


def test_every_record_comes_into_every_batch_by_a_coin_of_its_own() -> None:
    n, rate, steps = 60, 0.1, 4000
    taken = np.zeros((steps, n), bool)
    for step, batch in enumerate(poisson(np.arange(n), rate, steps, Randomness(0).generator("sample"))):
        taken[step, batch.numpy()] = True
    counts = taken.sum(0)
    surprise = ((counts - steps * rate) ** 2 / (steps * rate * (1 - rate))).sum()
    assert stats.chi2.sf(surprise, n) > 1e-4
    sizes = taken.sum(1)
    assert sizes.var() == pytest.approx(n * rate * (1 - rate), rel=0.1)
    assert (sizes == 0).any()
    together = np.corrcoef(taken.T)[np.triu_indices(n, 1)]
    assert abs(together.mean()) < 4 / math.sqrt(steps * len(together))
    assert np.abs(together).max() < 5 / math.sqrt(steps)


def test_the_samples_do_not_depend_on_how_they_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [b.tolist() for b in poisson(np.arange(30), 0.2, 20, Randomness(0).generator("sample"))]
    monkeypatch.setattr("vestige.defend.private.randomness.BLOCK", 100)
    assert whole == [b.tolist() for b in poisson(np.arange(30), 0.2, 20, Randomness(0).generator("sample"))]


def test_one_step_seen_from_inside_shows_nearly_all_that_is_claimed_and_no_more() -> None:
    """A record whose gradient is as long as allowed, in or out of one step with every record."""
    from vestige.defend.private.accounting import Account, gaussian_steps

    noise, limit, delta, repeats = 1.0, 1.0, 1e-5, 6000
    claimed = Account(gaussian_steps(noise, 1.0, 1)).epsilon(delta)
    x = torch.zeros(2, 6)
    x[1, 0] = 100.0
    plan, graph = planned(lambda: nn.Sequential(nn.Linear(6, 2, bias=False)), x, torch.tensor([0, 1]), lr=1.0)
    one = Terms(count=2, rate=1.0, divisor=2.0, steps=1, noise=noise, delta=delta, factors=(1.0,))

    def scores(mine: np.ndarray, first: int) -> np.ndarray:
        """Return how far each of many models went along the record's gradient."""
        modules = [nn.Sequential(nn.Linear(6, 2, bias=False)) for _ in range(repeats)]
        for module in modules:
            nn.init.zeros_(module[0].weight)
        random = [Randomness(first + k) for k in range(repeats)]
        states = train(plan, graph, modules, one, [Fixed(limit)] * repeats, [mine] * repeats, random)
        moved = torch.stack([state["0.weight"] for state in states]) * 2
        return ((moved[:, 1, 0] - moved[:, 0, 0]) / math.sqrt(2)).numpy()

    seen = np.concatenate([scores(np.array([0, 1]), 0), scores(np.array([0]), repeats)])
    found = gdp_fit(Coins(scores=seen, included=np.arange(2 * repeats) < repeats), mechanism="gaussian", delta=delta)
    assert 0.8 * claimed <= found.value <= claimed


@pytest.mark.parametrize("start", [0.01, 30.0])
def test_the_adaptive_norm_comes_to_the_median(start: float) -> None:
    norms = torch.tensor([0.5, 1.0, 2.0, 4.0, 8.0])
    clip = Quantile(start, 0.5, 0.2, 1e-9, lambda: 0.0)
    for _ in range(400):
        clip.observe(norms, 5.0)
    assert 1.6 < clip.norm < 2.5


def test_the_two_releases_of_a_step_are_worth_one() -> None:
    """A cut sum over its limit, and a count shifted by a half, move together by no more than √(1 + ¼)."""
    random = np.random.default_rng(0)
    for _ in range(200):
        norms = torch.from_numpy(random.exponential(1.0, 6).astype(np.float32))
        limit = float(random.uniform(0.1, 3.0))
        lengths = (shares(norms, limit) * norms / limit).numpy()
        counts = (norms <= limit).numpy() - 0.5
        assert (np.sqrt(lengths**2 + counts**2) <= math.sqrt(1.25) + 1e-5).all()
    for noise, count_noise in ((1.0, 3.2), (0.7, 12.8), (2.0, 1.5)):
        apart = split_noise(noise, count_noise)
        assert 1 / apart**2 + 1 / (2 * count_noise) ** 2 == pytest.approx(1 / noise**2)
    assert split_noise(1.0, 3.2) == pytest.approx(1.01244, abs=1e-5)
    with pytest.raises(ConfigError):
        split_noise(2.0, 1.0)


def test_the_count_has_its_noise_and_the_expected_denominator() -> None:
    drawn = iter([1.0, -2.0])
    clip = Quantile(1.0, 0.5, 0.2, 3.0, lambda: next(drawn))
    clip.observe(torch.tensor([0.5, 0.5, 2.0]), 10.0)
    assert clip.norm == pytest.approx(math.exp(-0.2 * (0.5 + (2 - 1.5 + 3.0) / 10 - 0.5)))
    before = clip.norm
    clip.observe(torch.zeros(0), 10.0)
    assert clip.norm == pytest.approx(before * math.exp(-0.2 * (-6.0 / 10)))

"""The steps of adversarial regularisation, adversarial training, and mixup with matched answers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rival_pools import RESERVE, ROWS, SEEDS, Branching, defence, layered, pool, recipe
from vestige.backends.ensemble import train_many
from vestige.defend.training.games import AttackNetwork, Game
from vestige.defend.training.hardening import Range, hardened, range_of
from vestige.defend.training.matching import Matching, discrepancy, slope
from vestige.errors import UsageError
from vestige.records import Records
from vestige.target import Access


def states(wrapped: Any, records: Records) -> list[dict[str, Any]]:
    return [target.state() for target in wrapped.fit_many(records, ROWS, SEEDS)]


@pytest.mark.parametrize("model", [layered, Branching])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adversarial_regularization", {"strength": 0.0}),
        ("adversarial_training", {"epsilon": 0.0}),
        ("mixup_mmd", {"strength": 0.0, "spread": 0.0}),
        ("mixup_mmd", {"start": 1.0, "spread": 0.0}),
    ],
)
def test_without_its_term_each_is_plain_training(name: str, options: dict[str, Any], model: Any) -> None:
    records, wrapped = pool(), defence(name, **options).wrap(recipe(model), RESERVE)
    setup = wrapped.setup(records)
    plain = train_many(setup.plan, setup.graph, ROWS, SEEDS)
    for found, wanted in zip(states(wrapped, records), plain, strict=True):
        for key in found:
            # Modules run as they are differentiate their loss, and not by hand.
            np.testing.assert_allclose(found[key], wanted[key].numpy(), atol=0 if setup.graph else 1e-6)


@pytest.mark.parametrize("spread", [0.7])
def test_blends_without_matching_are_mixup(spread: float) -> None:
    records = pool()
    wrapped = defence("mixup_mmd", strength=0.0, spread=spread).wrap(recipe(), RESERVE)
    other = recipe(mixup=spread).fit_many(records, ROWS, SEEDS)
    for found, wanted in zip(states(wrapped, records), other, strict=True):
        for key, value in wanted.state().items():
            np.testing.assert_allclose(found[key], value, atol=1e-6)


def test_early_stopping_reaches_training_loops_of_their_own() -> None:
    from vestige.backends.stopping import Stopping

    rows = tuple(map(int, RESERVE))
    stopped = recipe(epochs=12, lr=3.0, stopping=Stopping(rows=rows, patience=2))
    seen: list[Any] = []
    wrapped = defence("mixup_mmd").wrap(stopped, RESERVE)
    wrapped.follow(pool(), ROWS[0], 5, RESERVE, seen.append)
    losses = [float(F.cross_entropy(torch.from_numpy(one.values), torch.from_numpy(pool().y[RESERVE]))) for one in seen]
    found = wrapped.fit(pool(), ROWS[0], 5).query(pool().x[RESERVE], Access.SCORE)
    assert len(seen) < 12
    assert np.allclose(found.values, seen[int(np.argmin(losses))].values, atol=1e-5)


class TestGame:
    def game(self, **options: Any) -> tuple[Game, nn.Module]:
        records = pool()
        wrapped = defence("adversarial_regularization", warm_up=0, **options).wrap(recipe(), RESERVE)
        setup = wrapped.setup(records)
        torch.manual_seed(0)
        return Game(setup.plan, wrapped.defence, ROWS[0], RESERVE, 5, 4), setup.plan.build().eval()

    @pytest.mark.parametrize("sees", ["probabilities", "logits"])
    def test_the_models_step_follows_the_gain_and_leaves_the_attack_alone(self, sees: str) -> None:
        game, model = self.game(sees=sees, strength=3.0)
        before = [p.clone() for p in game.network.parameters()]
        rows = torch.from_numpy(ROWS[0][:16])
        outputs = model(game.plan.batch(rows)).detach()
        y = game.plan.y[rows]

        def loss(z: Any) -> Any:
            view = z.double().softmax(1) if sees == "probabilities" else z.double()
            gain = 0.5 * torch.log(torch.sigmoid(game.network.double()(view, y))).mean()
            return F.cross_entropy(z.double(), y) + 3.0 * gain

        leaf = outputs.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(loss(leaf), leaf)
        game.network.float()
        torch.testing.assert_close(game.gradient(0, rows, outputs), wanted, atol=1e-6, rtol=1e-4)
        assert float((wanted - torch.autograd.grad(F.cross_entropy(leaf, y), leaf)[0]).abs().max()) > 1e-4
        assert all(p.grad is None for p in game.network.parameters())
        assert all(torch.equal(a, b) for a, b in zip(before, game.network.parameters(), strict=True))

    def test_the_attacks_step_climbs_the_gain_and_leaves_the_model_alone(self) -> None:
        game, model = self.game(attack_lr=0.01)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        known = {row.tobytes() for row in pool().x[ROWS[0]]}

        def remembers(x: Any) -> Any:
            return model(x) + 2 * torch.tensor([[row.tobytes() in known] for row in x.numpy()]) * torch.eye(4)[:1]

        gains = [game.attack(remembers) for _ in range(200)]
        assert np.mean(gains[-20:]) > np.mean(gains[:20]) + 0.1
        assert all(p.grad is None for p in model.parameters())
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())

    def test_the_attack_learns_on_members_and_the_reserve_alone_and_in_equal_numbers(self) -> None:
        game, model = self.game()
        asked: list[Any] = []
        game.attack(lambda x: asked.append(x) or model(x))
        members, others = asked[0][:32].numpy(), asked[0][32:].numpy()
        known = pool().x
        assert {row.tobytes() for row in members} <= {row.tobytes() for row in known[ROWS[0]]}
        assert {row.tobytes() for row in others} <= {row.tobytes() for row in known[RESERVE]}
        assert len(members) == len(others)

    @staticmethod
    def found_by_a_new_attack(scores: Any, y: Any) -> float:
        """Return the balanced accuracy, on records it has not seen, of an attack network trained on the others."""
        inside = np.isin(np.arange(len(y)), ROWS[0])
        known = np.concatenate([ROWS[0][:65], RESERVE[:40]])
        asked = np.concatenate([ROWS[0][65:], RESERVE[40:]])
        shown, labels = torch.from_numpy(scores).softmax(1), torch.from_numpy(y)
        truth = torch.from_numpy(inside).float()
        weight = torch.where(truth > 0, 1 / 65, 1 / 40)
        found = []
        for seed in range(5):
            torch.manual_seed(seed)
            network = AttackNetwork(4, (16, 8))
            adam = torch.optim.Adam(network.parameters(), 0.01)
            for _ in range(60):
                adam.zero_grad()
                logits = network(shown[known], labels[known])
                F.binary_cross_entropy_with_logits(logits, truth[known], weight[known], reduction="sum").backward()
                adam.step()
            guess = (network(shown[asked], labels[asked]) > 0).numpy()
            found.append((guess[inside[asked]].mean() + (~guess[~inside[asked]]).mean()) / 2)
        return float(np.mean(found))

    def test_a_strong_player_hides_members_from_the_attack(self) -> None:
        records = pool()
        inner = recipe("mlp", hidden=(32,), epochs=40, normalize="standard")
        gaps, attacks = [], []
        for strength in (0.0, 5.0):
            wrapped = defence("adversarial_regularization", strength=strength, attack_steps=4, attack_lr=0.01).wrap(
                inner, RESERVE
            )
            found = wrapped.fit(records, ROWS[0], 5).query(records.x, Access.SCORE).values
            right = found.argmax(1) == records.y
            gaps.append(right[ROWS[0]].mean() - right[RESERVE].mean())
            attacks.append(self.found_by_a_new_attack(found, records.y))
        assert gaps[1] < gaps[0] - 0.05
        assert attacks[0] > 0.55
        assert 0.4 < attacks[1] <= 0.55


class TestHardening:
    @pytest.mark.parametrize("seed", range(5))
    def test_moved_records_stay_near_in_range_and_cost_no_less(self, seed: int) -> None:
        # The loss of a linear model is convex in the record, so that no step along its signs can lower it.
        draw = torch.Generator().manual_seed(seed)
        model = nn.Linear(8, 4)
        x, y = torch.rand((20, 8), generator=draw), torch.randint(0, 4, (20,), generator=draw)
        losses = []
        for steps in range(6):
            moved = hardened(
                lambda z: F.cross_entropy(model(z), y, reduction="sum"), x, x, epsilon=0.1, step_size=0.03, steps=steps,
                box=Range(0.0, 1.0),
            )  # fmt: skip
            assert float((moved - x).abs().max()) <= 0.1 + 1e-6
            assert float(moved.min()) >= 0
            assert float(moved.max()) <= 1
            losses.append(F.cross_entropy(model(moved), y, reduction="none").detach())
        for before, after in itertools.pairwise(losses):
            assert bool((after >= before - 1e-6).all())
        assert bool((losses[-1] > losses[0]).all())

    def test_the_range_is_that_of_the_records_as_the_module_reads_them(self) -> None:
        setup = defence("adversarial_training").wrap(recipe(), RESERVE).setup(pool(image=True))
        found = range_of(setup.plan)
        pixels = setup.plan.floats(setup.plan.x)
        assert (found.low, found.high) == (float(pixels.min()), float(pixels.max()))

    def test_moving_a_record_asks_in_evaluation_mode_and_moves_no_weight(self) -> None:
        seen: list[bool] = []

        class Watched(Branching):
            def forward(self, x: Any) -> Any:
                if x.requires_grad:
                    seen.append(self.training)
                    assert not any(p.grad is not None and bool(p.grad.isnan().any()) for p in self.parameters())
                return super().forward(x)

        defence("adversarial_training", steps=3).wrap(recipe(Watched, epochs=1), RESERVE).fit(pool(), ROWS[0], 1)
        assert seen == [False] * (3 * 5)

    def test_robustness_is_what_is_bought(self) -> None:
        records, broken = pool(), []
        inner = recipe("mlp", hidden=(32,), epochs=25, normalize="standard")
        for epsilon in (0.0, 0.08):
            hard = defence("adversarial_training", epsilon=epsilon, step_size=0.03, steps=4).wrap(inner, RESERVE)
            target = hard.fit(records, ROWS[0], 5)
            setup = hard.setup(records)
            x, y = setup.plan.x[RESERVE], setup.plan.y[RESERVE]
            box = range_of(setup.plan)
            moved = hardened(
                lambda z, y=y, m=target.module: F.cross_entropy(m(z), y), x, x, epsilon=0.08 * (box.high - box.low),
                step_size=0.02 * (box.high - box.low), steps=8, box=box,
            )  # fmt: skip
            broken.append(float((target.module(moved).argmax(1) != y).float().mean()))
        assert broken[1] < broken[0] - 0.02


class TestDiscrepancy:
    @staticmethod
    def by_hand(a: Any, b: Any) -> float:
        points = np.concatenate([a, b])
        squares = [((p - q) ** 2).sum() for i, p in enumerate(points) for q in points[i + 1 :]]
        width = np.sort(squares)[(len(squares) - 1) // 2]

        def kernel(p: Any, q: Any) -> float:
            return float(np.exp(-((p - q) ** 2).sum() / (2 * width)))

        own = [kernel(p, q) for i, p in enumerate(a) for j, q in enumerate(a) if i != j]
        other = [kernel(p, q) for i, p in enumerate(b) for j, q in enumerate(b) if i != j]
        return float(np.mean(own) + np.mean(other) - 2 * np.mean([kernel(p, q) for p in a for q in b]))

    def test_it_is_the_sum_over_pairs(self) -> None:
        random = np.random.Generator(np.random.PCG64(0))
        a, b = random.random((5, 3)), random.random((7, 3))
        assert float(discrepancy(torch.from_numpy(a), torch.from_numpy(b))) == pytest.approx(self.by_hand(a, b))

    def test_it_is_nothing_on_average_where_both_have_one_law_and_something_where_not(self) -> None:
        draw = torch.Generator().manual_seed(1)
        same, moved = [], []
        for _ in range(500):
            a, b = (torch.randn((8, 4), generator=draw).softmax(1) for _ in range(2))
            same.append(float(discrepancy(a, b)))
            shifted = (torch.randn((8, 4), generator=draw) + torch.tensor([2.0, 0, 0, 0])).softmax(1)
            moved.append(float(discrepancy(a, shifted)))
        assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(500)
        assert np.mean(moved) > 10 * np.std(moved) / np.sqrt(500)

    def test_only_the_members_side_is_moved(self) -> None:
        draw = torch.Generator().manual_seed(2)
        outputs = torch.randn((12, 4), generator=draw)
        found = slope(outputs, 5)
        assert bool((found[5:] == 0).all())
        assert bool((found[:5] != 0).any())

        def value(z: Any) -> Any:
            return discrepancy(z[:5].softmax(1), z[5:].softmax(1))

        # The kernel's width is held, so that a difference quotient holds it too.
        leaf = outputs.double().requires_grad_()
        (wanted,) = torch.autograd.grad(value(leaf), leaf)
        torch.testing.assert_close(found[:5].double(), wanted[:5], atol=1e-5, rtol=1e-3)

    def test_batches_are_of_one_class_and_fill_up_without_counting_twice(self) -> None:
        records = pool()
        options = defence("mixup_mmd", matched=32, start=0.0, spread=0.0)
        setup = options.wrap(recipe(), RESERVE).setup(records)
        scheme = Matching(setup.plan, options, ROWS[0][:40], RESERVE, 5)
        rows = torch.from_numpy(ROWS[0][:16])
        x = scheme.inputs(0, rows, lambda z: z)
        assert len(x) == 16 + 2 * 32
        place = {row.tobytes(): k for k, row in enumerate(setup.plan.x.numpy())}
        members, others = ([place[row.tobytes()] for row in part.numpy()] for part in (x[16:48], x[48:]))
        assert set(members) <= set(ROWS[0][:40].tolist())
        assert set(others) <= set(RESERVE.tolist())
        assert len({int(records.y[row]) for row in members + others}) == 1
        found = scheme.gradient(0, rows, torch.randn(len(x), 4, generator=torch.Generator().manual_seed(0)))
        assert bool((found[48:] == 0).all())
        moved = [member for member, one in zip(members, found[16:48], strict=True) if bool((one != 0).any())]
        assert len(moved) == len(set(moved)) == len(set(members))

    def test_classes_that_nobody_has_twice_are_not_matched_in_silence(self) -> None:
        records = pool()
        few = np.array([int(np.flatnonzero(records.y == c)[0]) for c in range(4)])
        for strength in (1.0, 0.0):
            wrapped = defence("mixup_mmd", strength=strength).wrap(recipe(epochs=1), RESERVE)
            if strength:
                with pytest.raises(UsageError, match="two members"):
                    wrapped.fit(records, few, 1)
            else:
                wrapped.fit(records, few, 1)

    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_a_blend_of_one_record_alone_is_plain_cross_entropy(self, share: float) -> None:
        from vestige.backends.ensemble.mixing import Blend

        records = pool()
        options = defence("mixup_mmd", strength=0.0)
        setup = options.wrap(recipe(), RESERVE).setup(records)
        scheme = Matching(setup.plan, options, ROWS[0], RESERVE, 5)
        rows, partners = torch.from_numpy(ROWS[0][:16]), torch.randperm(16)
        scheme._mixer = type("Fixed", (), {"draw": lambda self, n: Blend(share, partners)})()
        x = scheme.inputs(0, rows, lambda z: z)
        kept = rows if share else rows[partners]
        assert torch.equal(x, setup.plan.batch(kept))
        outputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        (wanted,) = torch.autograd.grad(F.cross_entropy(outputs, setup.plan.y[kept]), outputs)
        torch.testing.assert_close(scheme.gradient(0, rows, outputs.detach()), wanted)

"""White-box canaries: what the released gradients give away, with and without noise."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from canary.learners import population
from vestige.backends.torch import TorchRecipe
from vestige.canary import Steps, audit
from vestige.errors import MissingDependency, ModelError, UsageError
from vestige.privacy_claim import PrivacyClaim
from vestige.records import Records

torch = pytest.importorskip("torch")
nn = torch.nn
CLIP, BATCH = 1.0, 40


@pytest.fixture(scope="module")
def records():
    random = np.random.default_rng(0)
    return Records.build(random.standard_normal((300, 20)).astype(np.float32), random.integers(0, 3, 300))


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def network():
    return nn.Sequential(nn.Linear(20, 128), nn.Tanh(), nn.Linear(128, 3))


def quoted(log):
    return next(one for one in log.epsilon if one.primary)


def noisy_descent(sigma, epochs=4, skip_last=False):
    """Return DP-SGD by hand with Poisson batches; ``skip_last``: without noise on the last layer, as a bug would."""

    def train(x, y, seed, steps):
        torch.manual_seed(seed)
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        steps.watch(model, optimizer, rate=BATCH / len(x), clip=CLIP)
        parameters = dict(model.named_parameters())

        def loss(values, one, label):
            return nn.functional.cross_entropy(torch.func.functional_call(model, values, one[None]), label[None])

        single = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
        for _ in range(epochs * len(x) // BATCH):
            batch = torch.rand(len(x)) < BATCH / len(x)
            held = single({k: p.detach() for k, p in parameters.items()}, x[batch], y[batch])
            rows = steps.plant(list(held.values()))
            norms = torch.stack([r.flatten(1).norm(dim=1) for r in rows]).norm(dim=0)
            factor = (CLIP / norms.clamp(min=1e-9)).clamp(max=1.0)
            for place, (p, r) in enumerate(zip(model.parameters(), rows, strict=True)):
                silent = skip_last and place >= 2
                noise = 0.0 if silent else sigma * CLIP * torch.randn_like(p)
                p.grad = (torch.einsum("b,b...->...", factor, r) + noise) / BATCH
            optimizer.step()
        return model.eval()

    return train


def opacus_training(sigma):
    def train(x, y, seed, steps=None):
        opacus = pytest.importorskip("opacus")
        torch.manual_seed(seed)
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        loader = torch.utils.data.DataLoader(data, batch_size=BATCH)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, optimizer, loader = opacus.PrivacyEngine(accountant="rdp").make_private(
                module=model, optimizer=optimizer, data_loader=loader, noise_multiplier=sigma, max_grad_norm=CLIP
            )
            if steps is not None:
                steps.watch(model, optimizer)
            for _ in range(4):
                for inputs, labels in loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(inputs), labels).backward()
                    optimizer.step()
        return model._module

    return train


NOISELESS, NOISY = noisy_descent(0.0), noisy_descent(30.0)
HALF_NOISY = noisy_descent(30.0, skip_last=True)


def unwatched(x, y, seed):
    nobody = Steps(included=np.ones(1, bool), rows=len(x), seed=seed, canaries=(x[:1], y[:1]))
    return NOISELESS(x, y, seed, nobody)


CLAIM = PrivacyClaim(epsilon=1.0, delta=1e-5, mechanism="subsampled_gaussian")


def test_planted_directions_show_in_training_without_noise(records, store):
    log = audit(NOISELESS, records, canaries="gradient", count=200, claim=CLAIM, store=store)
    assert quoted(log).value > 3.0
    assert log.exit_code == 1
    assert log.canary.access == "white_box"
    assert log.canary.always == len(records)


def test_enough_noise_hides_them(records, store):
    log = audit(NOISY, records, canaries="gradient", count=200, claim=CLAIM, store=store)
    assert quoted(log).value < 0.3
    assert log.exit_code == 0


def test_a_layer_without_noise_gives_its_own_away(records, store):
    log = audit(HALF_NOISY, records, canaries="gradient", count=300, claim=PrivacyClaim(epsilon=0.2), store=store)
    assert log.exit_code == 1


def test_exchanged_directions_are_told_from_their_stand_ins(records, store):
    claim = PrivacyClaim(epsilon=1.0, delta=1e-5, adjacency="replace_one")
    log = audit(NOISELESS, records, canaries="gradient", count=150, claim=claim, store=store)
    assert quoted(log).value > 2.5
    assert log.canary.adjacency == "replace_one"


def test_records_lean_on_gradients_more_than_on_the_final_loss(records, store):
    white = audit(NOISELESS, records, canaries="mislabelled", count=60, score="gradient", store=store)
    black = audit(unwatched, records, canaries="mislabelled", count=60, store=store)
    assert white.attacks[0].auc.value > 0.65
    assert white.attacks[0].auc.value > black.attacks[0].auc.value
    assert white.canary.access == "white_box"


def test_a_torch_recipe_is_watched_without_being_told(records, store):
    recipe = TorchRecipe(model="mlp", hidden=(16,), epochs=30, batch_size=32, lr=0.05)
    log = audit(recipe, records, count=60, score="gradient", store=store)
    assert log.attacks[0].auc.value > 0.8
    again = audit(recipe, records, count=60, score="gradient", store=store)
    assert (again.shadow.trained, again.shadow.reused) == (0, 1)
    assert again.epsilon == log.epsilon


def test_opacus_needs_one_line(records, store):
    pytest.importorskip("opacus")
    for kind, least in (("gradient", 2.0), ("natural", 0.0)):
        log = audit(opacus_training(1e-3), records, canaries=kind, count=100, score="gradient", store=store)
        assert quoted(log).value >= least
        assert log.attacks[0].auc.value > 0.7
    quiet = audit(opacus_training(30.0), records, canaries="gradient", count=100, claim=CLAIM, store=store)
    assert quiet.exit_code == 0


def test_opacus_is_scored_by_its_answers_too(records, store):
    pytest.importorskip("opacus")
    log = audit(opacus_training(2.0), records, count=100, claim=PrivacyClaim(epsilon=4.0, delta=1e-5), store=store)
    assert log.exit_code == 0
    assert log.target.kind == "function"


def test_a_planted_row_is_clipped_like_any_other_and_lands_where_it_was_put():
    model = nn.Linear(5, 3)
    steps = Steps(included=np.array([True, False, True]), rows=10, seed=1, planted=True)
    steps.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), rate=1.0)
    rows = steps.plant([torch.zeros(2, 3, 5), torch.zeros(2, 3)])
    assert [tuple(r.shape) for r in rows] == [(4, 3, 5), (4, 3)]
    flat = torch.cat([r.flatten(1) for r in rows], dim=1)
    assert ((flat != 0).sum(dim=1).tolist()) == [0, 0, 1, 1]
    assert (flat[2] * flat[3]).sum() == 0


def test_trainings_that_cannot_be_watched(records, store):
    def idle(x, y, seed, steps):
        return network()

    def unplanted(x, y, seed, steps):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        steps.watch(model, optimizer, rate=0.1)
        nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimizer.step()
        return model

    def rateless(x, y, seed, steps):
        steps.watch(model := network(), torch.optim.SGD(model.parameters(), lr=0.1))

    def misfit(x, y, seed, steps):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        steps.watch(model, optimizer, encode=lambda a, b: (torch.zeros(len(a), 7), torch.from_numpy(b)))
        optimizer.step()
        return model

    for train, kind, error, words in (
        (idle, "natural", ModelError, "no step that was watched"),
        (unplanted, "gradient", ModelError, "No canary was planted"),
        (rateless, "gradient", UsageError, "Expected the rate"),
        (misfit, "natural", ModelError, "gradients could not be taken"),
    ):
        with pytest.raises(error, match=words):
            audit(train, records, canaries=kind, count=50, score="gradient", store=store)
    with pytest.raises(UsageError, match="as the model has weights"):
        audit(NOISELESS, records, canaries="gradient", count=9000, store=store)
    with pytest.raises(UsageError, match="got a TorchRecipe"):
        audit(TorchRecipe(), records, canaries="gradient", count=50, store=store)


def test_estimators_have_no_steps(store):
    linear = pytest.importorskip("sklearn.linear_model")
    with pytest.raises(UsageError, match="got a SklearnRecipe"):
        audit(linear.LogisticRegression(), population(), count=50, score="gradient", store=store)


def test_without_torch_it_says_what_to_install(records, store, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"vestige\[torch\]"):
        audit(NOISELESS, records, canaries="gradient", count=50, store=store)

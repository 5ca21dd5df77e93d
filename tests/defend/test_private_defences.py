"""`dp_sgd` and `adaptive_clipping` as defences: parameters, claims, recipes that train the same bytes, an audit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("dp_accounting")
pytest.importorskip("opacus")

from torch import nn  # noqa: E402

from vestige.backends.sklearn import SklearnRecipe  # noqa: E402
from vestige.backends.stopping import Stopping  # noqa: E402
from vestige.backends.table_noise import TableNoise  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.backends.torch_target import TorchTarget  # noqa: E402
from vestige.defend import DEFENCES, layers_of  # noqa: E402
from vestige.defend.base import TrainingDefence, Trait  # noqa: E402
from vestige.defend.private.accounting import Account  # noqa: E402
from vestige.defend.private.grouping import grouped, normalises  # noqa: E402
from vestige.defend.private.ledger import composed, steps  # noqa: E402
from vestige.errors import ConfigError, ModelError, UsageError  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.target import Access, BatchRecipe  # noqa: E402

NONE = np.zeros(0, np.int64)
SMALL: dict[str, Any] = {"noise_multiplier": 1.5, "delta": 1e-5}
RECIPE = TorchRecipe(
    model="mlp", hidden=(12,), epochs=3, batch_size=16, lr=0.3, momentum=0.0, weight_decay=0.0, schedule="constant"
)


def blobs(n: int = 300, width: int = 6) -> Records:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, n)
    centres = np.eye(3, width) * 3
    return Records.build((centres[y] + random.normal(size=(n, width))).astype(np.float32), y)


def pictures(n: int = 80) -> Records:
    random = np.random.default_rng(0)
    y = random.integers(0, 2, n)
    return Records.build((random.normal(size=(n, 1, 8, 8)) + y[:, None, None, None]).astype(np.float32), y)


def normalising() -> nn.Module:
    """A user's own module, with batch normalisation at two depths."""
    return nn.Sequential(
        nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8)), nn.ReLU(), nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU(),
        nn.Linear(4, 3),
    )  # fmt: skip


class Unreadable(nn.Module):
    """A module whose forward depends on a value, which no tracer can read."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(x if float(x.sum()) > -1e30 else -x)
        return answer


class Remembering(nn.Module):
    """A module that keeps statistics of what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm1d(1, track_running_stats=True)
        self.last = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(self.norm(x[:, None])[:, 0])
        return answer


def defence(name: str = "dp_sgd", **options: Any) -> Any:
    given = {} if "epsilon" in options else SMALL
    return DEFENCES.create(name, {**given, **options})


def same(one: TorchTarget, other: TorchTarget) -> bool:
    a, b = one.state(), other.state()
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["dp_sgd", "adaptive_clipping"])
@pytest.mark.parametrize("engine", ["batched", "opacus"])
def test_models_are_the_same_however_they_are_grouped_and_restored(name: str, engine: str) -> None:
    records = blobs()
    recipe = defence(name, engine=engine).wrap(RECIPE, NONE)
    assert isinstance(recipe, BatchRecipe)
    # The third has another public number of records, and so other terms.
    rows = [np.arange(0, 150), np.arange(100, 252), np.arange(200, 300), np.arange(3, 153)]
    together = recipe.fit_many(records, rows, [1, 2, 3, 4])
    for k, target in enumerate(together):
        assert same(target, recipe.fit(records, rows[k], k + 1))
        restored = recipe.restore(records, target.state())
        asked = records.x[:9]
        assert np.array_equal(restored.query(asked, Access.SCORE).values, target.query(asked, Access.SCORE).values)
    assert not same(together[0], recipe.fit(records, rows[0], 5))
    with pytest.raises(ModelError):
        recipe.restore(records, {"nothing": np.zeros(3)})


def test_noise_is_what_costs_accuracy() -> None:
    records = blobs(600)
    rows, others = np.arange(400), np.arange(400, 600)

    def accuracy(noise: float) -> float:
        recipe = defence(noise_multiplier=noise, heuristic=True, epochs=10).wrap(RECIPE, NONE)
        target = recipe.fit(records, rows, 0)
        return float((target.query(records.x[others], Access.LABEL).values == records.y[others]).mean())

    assert accuracy(0.1) > 0.9
    assert accuracy(0.1) - accuracy(60.0) > 0.15


def test_it_follows_what_it_trains() -> None:
    records, seen = blobs(), []
    recipe = defence().wrap(RECIPE, NONE)
    recipe.follow(records, np.arange(150), 1, np.arange(20), lambda answers: seen.append(answers.values))
    assert len(seen) == recipe.epochs == 3
    assert np.array_equal(seen[-1], recipe.fit(records, np.arange(150), 1).query(records.x[:20], Access.SCORE).values)


def test_chunks_fit_the_engine() -> None:
    records = blobs()
    assert defence().wrap(RECIPE, NONE).chunk_size(records) > 1
    assert defence(engine="opacus").wrap(RECIPE, NONE).chunk_size(records) == 1
    assert defence().wrap(dataclasses.replace(RECIPE, chunk=5), NONE).chunk_size(records) == 5
    plain = TorchRecipe(model=Unreadable, epochs=1, batch_size=16)
    assert defence().wrap(plain, NONE).chunk_size(records) == 1


def test_batch_normalisation_is_replaced_or_refused() -> None:
    records = blobs()
    for plain in (dataclasses.replace(RECIPE, norm="batch"), TorchRecipe(model=normalising, epochs=2, batch_size=16)):
        target = defence().wrap(plain, NONE).fit(records, np.arange(150), 0)
        kinds = [type(part) for part in target.module.modules()]
        assert nn.GroupNorm in kinds
        assert not any(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in kinds)
        assert not dict(target.module.named_buffers())
        with pytest.raises(ConfigError, match="depend on others"):
            defence(batch_norm="refuse").wrap(plain, NONE).fit(records, np.arange(150), 0)
        assert any("group normalisation" in text for text in defence().claim(plain, 150).assumptions)
    named = TorchRecipe(model="cnn", channels=(4,), hidden=(8,), norm="batch", epochs=1, batch_size=16)
    images = pictures()
    recipe = defence(engine="batched").wrap(named, NONE)
    target = recipe.fit(images, np.arange(40), 0)
    assert same(target, recipe.restore(images, target.state()))


def test_modules_that_remember_their_inputs_are_refused() -> None:
    plain = TorchRecipe(model=Remembering, epochs=1, batch_size=16)
    with pytest.raises(ConfigError, match="statistics"):
        defence().wrap(plain, NONE).fit(blobs(), np.arange(150), 0)


def test_modules_that_cannot_be_read_go_through_opacus() -> None:
    plain, records = TorchRecipe(model=Unreadable, epochs=2, batch_size=16, lr=0.1), blobs()
    assert same(
        defence().wrap(plain, NONE).fit(records, np.arange(150), 0),
        defence(engine="opacus").wrap(plain, NONE).fit(records, np.arange(150), 0),
    )
    with pytest.raises(ConfigError, match="layer by layer"):
        defence(engine="batched").wrap(plain, NONE).fit(records, np.arange(150), 0)


def test_one_batch_normalisation_in_two_places_is_replaced_in_both() -> None:
    shared = nn.BatchNorm1d(8)
    module = grouped(nn.Sequential(nn.Linear(6, 8), shared, nn.ReLU(), nn.Linear(8, 8), shared, nn.Linear(8, 3)))
    assert not normalises(module)
    assert module[1] is module[4]


def test_what_private_steps_would_leave_out_is_refused() -> None:
    stopped = dataclasses.replace(RECIPE, stopping=Stopping(rows=(1, 2), patience=2))
    for plain, says in ((dataclasses.replace(RECIPE, mixup=0.2), "blends"), (stopped, "early stopping")):
        for call in (lambda plain=plain: defence().wrap(plain, NONE), lambda plain=plain: defence().claim(plain, 150)):
            with pytest.raises(ConfigError, match=says):
                call()


@pytest.mark.parametrize("engine", ["batched", "opacus"])
def test_a_loss_that_changes_with_the_epoch_does(engine: str) -> None:
    relaxed = DEFENCES.create("relaxloss", {"level": 0.5}).wrap(RECIPE, NONE)
    levels = []
    for flatten in ("paper", "reference"):
        loss = dataclasses.replace(relaxed.loss, flatten=flatten)
        plain = dataclasses.replace(relaxed, loss=loss, epochs=2, lr=2.0)
        levels.append(defence(noise_multiplier=0.05, heuristic=True, engine=engine).wrap(plain, NONE))
    # The two ways to flatten differ in odd epochs alone.
    one, other = (recipe.fit(blobs(), np.arange(150), 0) for recipe in levels)
    assert not same(one, other)


def test_claims_say_what_augmentations_and_scales_read() -> None:
    def mine(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x + torch.randn(x.shape, generator=generator)

    table = TableNoise(kind="resample", share=0.1, rows=(1, 2))
    for plain, says in ((dataclasses.replace(RECIPE, augment=table), "which values"),
                        (dataclasses.replace(RECIPE, augment=mine), "mixes records"),
                        (dataclasses.replace(RECIPE, normalize="standard"), "scales")):  # fmt: skip
        assert any(says in text for text in defence().claim(plain, 150).excludes)
    assert defence().claim(dataclasses.replace(RECIPE, normalize="none"), 150).excludes == (
        "hyper-parameter selection",
    )


def test_a_delta_that_allows_a_record_to_be_published_is_refused() -> None:
    with pytest.raises(ConfigError, match="published whole"):
        defence(noise_multiplier=1.0, delta=0.01).claim(RECIPE, 150)


def test_a_loss_of_the_users_own_is_taken_record_by_record() -> None:
    def robust(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (nn.functional.cross_entropy(outputs, y, reduction="none") - 0.2).abs().mean()

    records, plain = blobs(), dataclasses.replace(RECIPE, loss=robust)
    one = defence(engine="batched").wrap(plain, NONE).fit(records, np.arange(150), 0).state()
    other = defence(engine="opacus").wrap(plain, NONE).fit(records, np.arange(150), 0).state()
    assert all(np.allclose(one[name], other[name], atol=1e-5) for name in one)


@pytest.mark.parametrize("name", ["dp_sgd", "adaptive_clipping"])
def test_the_claim_follows_from_its_ledger(name: str) -> None:
    made = defence(name, epsilon=1.5, delta=1e-5, schedule="linear")
    claim = made.claim(RECIPE, 152)
    assert (claim.epsilon, claim.delta, claim.guarantee) == (1.5, 1e-5, "G1")
    assert (claim.unit, claim.adjacency, claim.mechanism) == ("record", "add_remove", "subsampled_gaussian")
    assert 1.4990 < Account(composed(claim.ledger)).epsilon(1e-5) <= 1.5
    terms = made.terms(3, 16, 152)
    assert "RDP" in claim.accountant
    assert "PRV" in claim.accountant
    assert steps(claim.ledger) == terms.steps * 3 == 30
    noises = [part["event"]["event"]["noise_multiplier"] for part in claim.ledger]
    assert noises == pytest.approx([terms.noise, 0.75 * terms.noise, 0.5 * terms.noise])
    assert any("not a release" in text for text in claim.assumptions)
    assert "hyper-parameter selection" in claim.excludes
    released = defence(name, **SMALL, release=True).claim(RECIPE, 152)
    assert not any("not a release" in text for text in released.assumptions)
    assert released.epsilon == pytest.approx(Account(composed(released.ledger)).epsilon(1e-5))
    assert defence(batch_size=500).claim(RECIPE, 152).mechanism == "gaussian"


def test_little_noise_promises_nothing_and_reports_its_epsilon() -> None:
    weak = defence(noise_multiplier=0.05, heuristic=True)
    claim = weak.claim(RECIPE, 152)
    assert claim.guarantee == weak.guarantee == "G4"
    assert claim.epsilon > 1000
    assert "RDP" in claim.accountant
    assert defence().guarantee == type(weak).guarantee == "G1"
    layers = layers_of([{"kind": "dp_sgd", "noise_multiplier": 0.05, "heuristic": True}])
    assert layers.claim(RECIPE, 152) is None
    with pytest.raises(ConfigError, match="heuristic"):
        defence(noise_multiplier=0.05).claim(RECIPE, 152)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epsilon": 1.0, "noise_multiplier": 1.0}, "both"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"epsilon": 100.0}, "bounds no attack"),
        ({"epsilon": 2.0, "heuristic": True}, "noise_multiplier"),
        ({"noise_multiplier": -1.0}, "noise_multiplier"),
        ({"delta": 1.0}, "delta"),
        ({"max_grad_norm": 0.0}, "max_grad_norm"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"lr": "fast"}, "lr"),
        ({"schedule": "sawtooth"}, "schedule"),
        ({"decay": 0.0}, "decay"),
        ({"engine": "steam"}, "engine"),
        ({"mode": "ew"}, "mode"),
        ({"batch_norm": "keep"}, "batch_norm"),
    ],
)
def test_parameters_that_cannot_be_meant(options: dict[str, Any], said: str) -> None:
    for name in ("dp_sgd", "adaptive_clipping"):
        with pytest.raises(ConfigError, match=said):
            DEFENCES.create(name, options)


@pytest.mark.parametrize("options", [{"quantile": 1.0}, {"speed": 0.0}, {"count_noise": -1.0}])
def test_parameters_of_the_adaptive_norm_that_cannot_be_meant(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        DEFENCES.create("adaptive_clipping", options)


def test_a_count_with_too_little_noise_is_refused_before_any_training() -> None:
    made = defence("adaptive_clipping", noise_multiplier=3.0, count_noise=1.0)
    with pytest.raises(ConfigError, match="count_noise"):
        made.claim(RECIPE, 150)
    with pytest.raises(ConfigError, match="count_noise"):
        made.wrap(RECIPE, NONE).fit(blobs(), np.arange(150), 0)


def test_a_budget_is_taken_where_none_is_given() -> None:
    assert DEFENCES.create("dp_sgd", {}).epsilon == 4.0


def test_what_can_be_defended() -> None:
    from sklearn.linear_model import LogisticRegression

    made = defence()
    assert isinstance(made, TrainingDefence)
    assert Trait.CLIPS_RECORDS in made.traits
    with pytest.raises(ConfigError, match="torch recipes"):
        made.wrap(SklearnRecipe(estimator=LogisticRegression()), NONE)
    with pytest.raises(ConfigError, match="torch recipes"):
        made.wrap(made.wrap(RECIPE, NONE), NONE)
    recipe = made.wrap(RECIPE, NONE)
    with pytest.raises(UsageError):
        recipe.fit(blobs(), NONE, 0)
    with pytest.raises(UsageError):
        recipe.fit_many(blobs(), [np.arange(9)], [])
    with pytest.raises(UsageError):
        recipe.fit(blobs(), np.arange(290, 310), 0)


def test_a_fingerprint_changes_with_every_parameter() -> None:
    others: dict[str, Any] = {
        "noise_multiplier": 1.6, "delta": 1e-6, "max_grad_norm": 0.9, "epochs": 4, "batch_size": 32, "lr": 0.2,
        "schedule": "step", "decay": 0.4, "batch_norm": "refuse", "engine": "opacus", "mode": "ghost",
        "heuristic": True, "release": True,
    }  # fmt: skip
    more = {"quantile": 0.4, "speed": 0.1, "count_noise": 2.0}
    for name, changes in (("dp_sgd", others), ("adaptive_clipping", {**others, **more})):
        texts = {defence(name).wrap(RECIPE, NONE).fingerprint()}
        texts |= {defence(name, **{field: value}).wrap(RECIPE, NONE).fingerprint() for field, value in changes.items()}
        assert len(texts) == len(changes) + 1
        fields = {field.name for field in dataclasses.fields(defence(name))}
        assert fields == {"epsilon", *changes}


def test_a_ghost_norm_can_be_too_short_and_the_claim_says_so() -> None:
    from opacus.grad_sample import GradSampleModuleFastGradientClipping

    draw = torch.Generator().manual_seed(0)
    layer = GradSampleModuleFastGradientClipping(
        torch.nn.Linear(64, 32, bias=False), loss_reduction="sum", strict=False, use_ghost_clipping=True
    )
    x, pull = torch.randn(20, 8, 64, generator=draw), torch.randn(20, 8, 32, generator=draw)
    # The second half of each record's positions undoes what the first half adds to its gradient, but for a thousandth.
    x[:, 4:], pull[:, 4:] = x[:, :4] + 1e-3 * torch.randn(20, 4, 64, generator=draw), -pull[:, :4]
    for p in layer.parameters():
        p.grad_sample, p._norm_sample = None, torch.zeros(20)
    (layer(x.requires_grad_()) * pull).sum().backward()
    found = layer.get_norm_sample().double()
    true = torch.einsum("rti,rto->roi", x.detach().double(), pull.double()).flatten(1).norm(dim=1)
    sizes = (x.detach().double().norm(dim=2) * pull.double().norm(dim=2)).sum(1)
    assert float((true / found).max()) > 1.01
    assert float(((true**2 - found**2).abs() / sizes**2).max()) < 1e-7

    def told(**options: Any) -> bool:
        claim = defence("dp_sgd", epsilon=4.0, delta=1e-5, **options).claim(RECIPE, 300)
        return any("ghost norms" in text for text in claim.assumptions)

    assert told(engine="opacus", mode="ghost")
    assert told(mode="ghost")  # auto may come to it
    assert not told(engine="batched", mode="ghost")
    assert not told(engine="opacus", mode="hooks")


@pytest.mark.parametrize("options", [{"epsilon": 4.0, "delta": 1e-5}, {"noise_multiplier": 1.0, "delta": 1e-5}])
def test_an_audit_holds_its_bounds_against_the_claim(options: dict[str, Any], tmp_path: Any) -> None:
    from vestige.auditing.run import Audit
    from vestige.config import AuditConfig

    config = AuditConfig.model_validate({
        "name": "private", "store": str(tmp_path), "data": {"source": "digits"},
        "recipe": {"kind": "torch", "model": "logistic", "epochs": 2, "batch_size": 64},
        "defences": [{"kind": "dp_sgd", **options}], "shadow": {"count": 0}, "audit": {"attacks": ["loss"]},
    })  # fmt: skip
    log = Audit.from_config(config).run()
    layer = log.defences[0]
    assert log.status == "complete"
    assert layer.name == "dp_sgd"
    assert layer.claim is not None
    assert log.claim is not None
    assert log.claim.epsilon == layer.claim["epsilon"]
    assert tuple(log.claim.assumptions) == tuple(layer.claim["assumptions"])
    judged = [bound for bound in log.epsilon if bound.judged]
    assert judged
    assert all((bound.value or 0.0) <= log.claim.epsilon for bound in judged)

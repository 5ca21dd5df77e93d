"""Training-time defences that change the loss, the labels, the records or the end: what they make of a recipe."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest

from vestige.backends.function import FunctionRecipe
from vestige.backends.objectives import Relaxed, Softened
from vestige.backends.sklearn import SklearnRecipe
from vestige.backends.stopping import Stopping
from vestige.backends.table_noise import TableNoise
from vestige.defend import DEFENCES, layers_of
from vestige.defend.base import Trait
from vestige.defend.recipes import defended
from vestige.errors import ConfigError, UsageError
from vestige.records import Records
from vestige.target import Access

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from vestige.backends.torch import TorchRecipe  # noqa: E402

RESERVE = np.arange(70, 100)
NAMES = (
    "dropout", "l2", "early_stopping", "label_smoothing", "confidence_penalty", "augment", "mixup", "relaxloss", "hamp",
)  # fmt: skip
NOTHING = np.zeros(0, np.int64)


def pool(n=100):
    random = np.random.default_rng(0)
    y = random.integers(0, 3, n)
    x = (random.normal(0, 1, (3, 10))[y] + random.normal(0, 1.2, (n, 10))).astype(np.float32)
    return Records(x, y.astype(np.int64), np.arange(n), None, tuple("abc"))


def wrapped(name, recipe=None, **options):
    recipe = TorchRecipe(epochs=3, hidden=(16,)) if recipe is None else recipe
    return DEFENCES.create(name, options).wrap(recipe, RESERVE)


def test_what_each_sets():
    assert wrapped("dropout", share=0.3).dropout == 0.3
    assert wrapped("l2", weight=0.01).weight_decay == 0.01
    adam = wrapped("l2", TorchRecipe(optimizer="adam"), weight=0.01)
    assert (adam.optimizer, adam.weight_decay) == ("adamw", 0.01)
    assert wrapped("early_stopping", patience=4).stopping == Stopping(rows=tuple(range(70, 100)), patience=4)
    assert wrapped("label_smoothing", smoothing=-0.05).loss == Softened(smoothing=-0.05)
    assert wrapped("confidence_penalty", weight=0.2).loss == Softened(penalty=0.2)
    assert wrapped("augment", kind="flip").augment == "flip"
    assert wrapped("augment", kind="resample", share=0.2).augment == TableNoise("resample", 0.2, tuple(range(70, 100)))
    assert wrapped("mixup", spread=0.4).mixup == 0.4
    assert wrapped("relaxloss", level=2.0, flatten="reference").loss == Relaxed(level=2.0, flatten="reference")
    assert wrapped("hamp").loss == Softened(entropy=0.8, penalty=0.01, per_class=True)
    # The published α belongs to a divergence that is averaged over classes too.
    assert wrapped("hamp").loss.levels(100).penalty == pytest.approx(1.0)
    assert wrapped("hamp", scaling="batch").loss.levels(100).penalty == pytest.approx(0.01)


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    records, rows, plain = pool(), [np.arange(0, 50), np.arange(10, 60)], TorchRecipe(epochs=40, lr=0.2, hidden=(16,))
    recipe = wrapped(name, plain)
    assert json.loads(recipe.fingerprint()) != json.loads(plain.fingerprint())
    together = recipe.fit_many(records, rows, [1, 2])
    undefended = plain.fit(records, rows[0], 1).state()
    for own, seed, target in zip(rows, (1, 2), together, strict=True):
        state, alone = target.state(), recipe.fit(records, own, seed).state()
        assert {k: v.tobytes() for k, v in state.items()} == {k: v.tobytes() for k, v in alone.items()}
        restored = recipe.restore(records, state)
        one, other = (t.query(records.x, Access.SCORE).values for t in (target, restored))
        np.testing.assert_array_equal(one, other)
        # Nothing of it is left when answering: the same answer every time.
        np.testing.assert_array_equal(one, target.query(records.x, Access.SCORE).values)
    assert any(
        name_of not in undefended or not np.array_equal(array, undefended[name_of])
        for name_of, array in together[0].state().items()
    )
    defence = DEFENCES.create(name, {})
    assert (defence.guarantee, defence.claim(plain, 50)) == ("G4", None)
    with pytest.raises(ConfigError, match="torch"):
        defence.wrap(FunctionRecipe(lambda x, y, seed: None), RESERVE)


@pytest.mark.parametrize(("name", "options"), [
    ("dropout", {"share": 0.2}), ("l2", {"weight": 0.1}), ("early_stopping", {"patience": 2}),
    ("early_stopping", {"margin": 0.1}), ("label_smoothing", {"smoothing": 0.2}), ("confidence_penalty", {"weight": 1}),
    ("augment", {"share": 0.3}), ("augment", {"kind": "bits"}), ("mixup", {"spread": 0.1}), ("relaxloss", {"level": 3}),
    ("relaxloss", {"upper": 0.5}), ("relaxloss", {"flatten": "reference"}), ("relaxloss", {"per_record": True}),
    ("hamp", {"gamma": 0.5}), ("hamp", {"alpha": 0.1}), ("hamp", {"scaling": "batch"}),
])  # fmt: skip
def test_every_parameter_counts(name, options):
    assert wrapped(name, **options).fingerprint() != wrapped(name).fingerprint()


@pytest.mark.parametrize(("name", "options"), [
    ("dropout", {"share": 1.0}), ("l2", {"weight": -1}), ("early_stopping", {"patience": 0}),
    ("early_stopping", {"patience": math.nan}), ("early_stopping", {"patience": "ten"}),
    ("early_stopping", {"margin": -1}), ("label_smoothing", {"smoothing": 1}), ("confidence_penalty", {"weight": -0.1}),
    ("augment", {"kind": "turn"}), ("augment", {"share": 2}), ("mixup", {"spread": 0}), ("relaxloss", {"level": -1}),
    ("relaxloss", {"upper": 2}), ("relaxloss", {"flatten": "none"}), ("relaxloss", {"per_record": 3}),
    ("hamp", {"gamma": 1}), ("hamp", {"alpha": -1}), ("hamp", {"scaling": "mean"}),
])  # fmt: skip
def test_parameters_that_cannot_be_meant(name, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        DEFENCES.create(name, options)


def stack(*kinds):
    tables = [kind if isinstance(kind, dict) else {"kind": kind} for kind in kinds]
    return defended(TorchRecipe(epochs=2, hidden=(8,)), layers_of(tables), RESERVE)


def test_what_stands_together_and_what_does_not():
    every = stack("dropout", "l2", "early_stopping", "label_smoothing", "confidence_penalty", "augment", "mixup")
    assert every.loss == Softened(smoothing=0.1, penalty=0.1)
    assert np.isfinite(every.fit(pool(), np.arange(50), 0).query(pool().x, Access.SCORE).values).all()
    for kinds in (
        ("label_smoothing", "hamp"), ("hamp", "confidence_penalty"), ("relaxloss", "label_smoothing"),
        ("label_smoothing", "relaxloss"), ("mixup", "relaxloss"), ("relaxloss", "mixup"), ("relaxloss", "relaxloss"),
        ("label_smoothing", "label_smoothing"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=r"defence '"):
            stack(*kinds)
    with pytest.raises(ConfigError, match="loss of its own"):
        wrapped("label_smoothing", TorchRecipe(loss=nn.functional.cross_entropy))
    with pytest.raises(ConfigError, match="loss = 'mse'"):
        wrapped("relaxloss", TorchRecipe(loss="mse"))
    with pytest.raises(ConfigError, match="replace the recipe's own"):
        wrapped("augment", TorchRecipe(augment="flip"))


def test_what_mixes_records_says_so():
    assert Trait.COUPLES_RECORDS in DEFENCES.create("mixup", {}).traits
    assert Trait.COUPLES_RECORDS in DEFENCES.create("relaxloss", {}).traits
    assert Trait.COUPLES_RECORDS not in DEFENCES.create("relaxloss", {"per_record": True}).traits
    assert Trait.COUPLES_RECORDS in DEFENCES.create("relaxloss", {}).traits
    assert DEFENCES.create("augment", {}).reserve
    assert not DEFENCES.create("augment", {"kind": "bits"}).reserve


def test_records_of_the_defenders_own_are_needed():
    for name in ("early_stopping", "augment"):
        with pytest.raises(ConfigError, match="defender's own"):
            DEFENCES.create(name, {}).wrap(TorchRecipe(), NOTHING)


def test_nobody_decides_on_members_when_to_stop():
    for recipe in (TorchRecipe(epochs=2, hidden=(8,)), TorchRecipe(model=Own, epochs=2)):
        stopping = wrapped("early_stopping", recipe)
        stopping.fit(pool(), np.arange(70), 0)
        with pytest.raises(UsageError, match="decide when to stop"):
            stopping.fit(pool(), np.arange(71), 0)


def test_a_penalty_is_not_counted_by_class_for_want_of_a_reward():
    both = wrapped("confidence_penalty", wrapped("hamp", alpha=0.0), weight=0.2)
    assert both.loss.levels(50).penalty == pytest.approx(0.2)


def test_softened_losses_need_classes():
    records = Records(pool().x, pool().x[:, 0], np.arange(100), None, ())
    for recipe in (wrapped("hamp"), wrapped("relaxloss", TorchRecipe(model=lambda: nn.Sequential(nn.Linear(10, 1))))):
        with pytest.raises(ConfigError, match="need classes"):
            recipe.fit(records, np.arange(20), 0)


class Own(nn.Module):
    def __init__(self, drops=False):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(10, 400), nn.Linear(400, 400), nn.Linear(400, 3)
        self.drop = nn.Dropout(0.9) if drops else nn.Identity()

    def forward(self, x):
        return self.c(self.drop(torch.relu(self.b(torch.relu(self.a(x))))))


def with_shape(shape, classes):
    return nn.Sequential(nn.Linear(shape[0], 8), nn.ReLU(), nn.Linear(8, classes))


def test_dropout_of_ones_own_module():
    recipe = wrapped("dropout", TorchRecipe(model=Own), share=0.25)
    module = recipe.model()
    assert [part.p for part in module.modules() if isinstance(part, nn.Dropout)] == [0.25, 0.25]
    x = torch.ones(1, 10)
    module.eval().requires_grad_(False)
    assert torch.equal(module(x), module(x))
    inside = torch.cat([module.b(torch.relu(module.a(x))) for _ in range(2)])
    module.train()
    drawn = torch.stack([module.b(torch.relu(module.a(x))) for _ in range(3000)]).mean(0)
    assert float((drawn - inside[:1]).norm() / inside[:1].norm()) < 0.02  # in expectation nothing changes
    assert not torch.equal(module(x), module(x))
    changed = wrapped("dropout", TorchRecipe(model=lambda: Own(True)), share=0.25).model()
    assert [part.p for part in changed.modules() if isinstance(part, nn.Dropout)] == [0.25]
    given = wrapped("dropout", TorchRecipe(model=with_shape, epochs=1))
    assert given.fit(pool(), np.arange(40), 0).query(pool().x, Access.SCORE).values.shape == (100, 3)
    prints = {wrapped("dropout", TorchRecipe(model=with_shape), share=share).fingerprint() for share in (0.2, 0.5)}
    assert len(prints) == 2
    with pytest.raises(ConfigError, match="no dropout layer"):
        wrapped("dropout", TorchRecipe(model=lambda: nn.Sequential(nn.Linear(10, 3)))).fit(pool(), np.arange(9), 0)
    with pytest.raises(ConfigError, match="no hidden units"):
        wrapped("dropout", TorchRecipe(model="logistic"))


def test_decay_of_ones_own_optimiser():
    recipe = wrapped("l2", TorchRecipe(optimizer=lambda p: torch.optim.SGD(p, 0.1), epochs=2), weight=0.3)
    same = TorchRecipe(optimizer=lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.3), epochs=2)
    found, wanted = (one.fit(pool(), np.arange(50), 0).state() for one in (recipe, same))
    assert {k: v.tobytes() for k, v in found.items()} == {k: v.tobytes() for k, v in wanted.items()}
    prints = {wrapped("l2", TorchRecipe(optimizer=torch.optim.SGD), weight=w).fingerprint() for w in (0.1, 0.2)}
    assert len(prints) == 2
    with pytest.raises(ConfigError, match="no weight decay"):
        wrapped("l2", TorchRecipe(optimizer=lambda p: torch.optim.LBFGS(p))).fit(pool(), np.arange(50), 0)


def test_estimators():
    linear_model = pytest.importorskip("sklearn.linear_model")
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    piped = make_pipeline(StandardScaler(), linear_model.LogisticRegression())
    found = wrapped("l2", SklearnRecipe(piped), weight=4.0)
    assert found.estimator[-1].C == 0.25
    assert piped[-1].C == 1.0
    assert wrapped("l2", SklearnRecipe(MLPClassifier()), weight=4.0).estimator.alpha == 4.0
    assert wrapped("l2", SklearnRecipe(HistGradientBoostingClassifier()), weight=2.0).estimator.l2_regularization == 2.0
    stopped = wrapped("early_stopping", SklearnRecipe(MLPClassifier()), patience=3).estimator
    assert (stopped.early_stopping, stopped.n_iter_no_change) == (True, 3)
    boosted = wrapped("early_stopping", SklearnRecipe(GradientBoostingClassifier()), patience=3)
    assert boosted.estimator.n_iter_no_change == 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert boosted.fit(pool(), np.arange(60), 0).estimator.n_estimators_ <= 100
    for name in ("l2", "early_stopping"):
        with pytest.raises(ConfigError, match="GaussianNB"):
            wrapped(name, SklearnRecipe(GaussianNB()))
    with pytest.raises(ConfigError, match="lbfgs"):
        wrapped("early_stopping", SklearnRecipe(MLPClassifier(solver="lbfgs")))
    with pytest.raises(ConfigError, match="above 0"):
        wrapped("l2", SklearnRecipe(linear_model.LogisticRegression()), weight=0)
    with pytest.raises(ConfigError, match="SklearnRecipe"):
        wrapped("hamp", SklearnRecipe(MLPClassifier()))

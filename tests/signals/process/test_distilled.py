"""Students of a target, followed epoch by epoch: against a plain loop, copies of the teacher, and counted queries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from reference.plain_training import train_plainly  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.backends.torch_target import TorchTarget  # noqa: E402
from vestige.errors import AccessError, ModelError, UsageError  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.seeds import seed_for  # noqa: E402
from vestige.signals import create, measure_outputs  # noqa: E402
from vestige.signals.base import Probe, Setting  # noqa: E402
from vestige.signals.process.distilled import Distilled  # noqa: E402
from vestige.target import Access, CountingTarget, Outputs  # noqa: E402

CLASSES = 4
SPARE = np.arange(120, 180)
ROWS = np.arange(120)


def blobs(n=180, width=6, seed=0):
    g = np.random.default_rng(seed)
    y = g.integers(0, CLASSES, n)
    x = g.normal(size=(n, width)) + 1.2 * np.eye(CLASSES, width)[y]
    return Records(x.astype(np.float32), y.astype(np.int64), np.arange(n), None, tuple("abcd"))


def setting(records, recipe, *, rows=ROWS, spare=SPARE, seed=5):
    return Setting(records=records, rows=rows, spare=spare, references=(), recipe=recipe, budget=None, seed=seed)


def plain(**options):
    return TorchRecipe(hidden=(16,), batch_size=16, lr=0.1, schedule="constant", **options)


class Asked:
    """A target that remembers what it was asked."""

    access = Access.SCORE

    def __init__(self, inner):
        self.inner, self.seen = inner, []

    def query(self, x, want):
        assert want == Access.SCORE
        self.seen.append(np.asarray(x))
        return self.inner.query(x, want)


class Drawn(nn.Module):
    """Normalisation and dropout, so that training mode and evaluation mode answer differently."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, CLASSES)
        )

    def forward(self, x):
        return self.layers(x)


class Strange(Drawn):
    """The same, of a structure that has to run as it is."""

    def forward(self, x):
        return self.layers(x) if x.sum() > -1e9 else self.layers(-x)


@pytest.fixture(scope="module")
def teacher():
    return plain(epochs=12).fit(blobs(), np.arange(60), 1)


def test_it_is_a_probe_of_scores():
    for key in ("distilled", "distilled(epochs=3,records=50,student='mlp')", "snapshots", "snapshots(count=3)"):
        assert isinstance(create(key), Probe)
    assert create("distilled").access == Access.SCORE
    assert create("snapshots").access == Access.WHITE_BOX


def test_every_step_is_what_a_plain_loop_on_soft_labels_gives(teacher):
    records = blobs()
    probe = Distilled(epochs=4, records=60)
    given = setting(records, plain(momentum=0.9))
    found = probe.probe(teacher, given).reshape(len(ROWS), 5, 5)
    x = torch.from_numpy(records.x)
    soft = torch.softmax(torch.from_numpy(teacher.query(records.x[SPARE], Access.SCORE).values), 1)
    for epoch in range(5):
        if epoch < 4:
            student = train_plainly(
                lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, CLASSES)),
                x[SPARE], soft, np.arange(60), seed_for(given.seed, "student"), epochs=epoch + 1, batch_size=16,
                optimizer=lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=5e-4),
                loss=lambda o, q: -(q * torch.log_softmax(o, 1)).sum(1).mean(),
            )  # fmt: skip
            p = torch.softmax(student.eval()(x[ROWS]).double(), 1).detach().numpy()
        else:
            p = torch.softmax(torch.from_numpy(teacher.query(records.x[ROWS], Access.SCORE).values).double(), 1).numpy()
        own = p[np.arange(len(ROWS)), records.y[ROWS]]
        others = p.copy()
        others[np.arange(len(ROWS)), records.y[ROWS]] = 0
        expected = np.column_stack([
            -np.log(own), p.max(1), p.std(1), -(p * np.log(p)).sum(1),
            -(1 - own) * np.log(own) - (others * np.log1p(-others)).sum(1),
        ])  # fmt: skip
        np.testing.assert_allclose(found[:, epoch], expected, rtol=2e-3, atol=2e-4)
    assert np.abs(found[:, 0] - found[:, 3]).max() > 0.1


def test_a_student_that_is_its_teacher_stays_where_it_is():
    """The gradient of the divergence from oneself is nought, so every step is the target itself."""
    weights = np.random.default_rng(3).normal(size=(CLASSES, 6)).astype(np.float32)

    def copied():
        layer = nn.Linear(6, CLASSES)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights))
            layer.bias.zero_()
        return nn.Sequential(layer)

    records = blobs()
    recipe = TorchRecipe(model=copied, weight_decay=0.0, lr=0.01, normalize="none")
    found = Distilled(epochs=5).probe(TorchTarget.wrap(copied(), classes=CLASSES), setting(records, recipe))
    steps = found.reshape(len(ROWS), 6, 5)
    np.testing.assert_allclose(steps, np.repeat(steps[:, -1:], 6, axis=1), atol=2e-5)
    own = measure_outputs(copied_answers(weights, records.x[ROWS]), records.y[ROWS], ["loss"])["loss"][:, 0]
    np.testing.assert_allclose(steps[:, 0, 0], own, rtol=1e-4, atol=1e-5)


def copied_answers(weights, x):
    return Outputs("logits", x @ weights.T)


def test_the_target_is_asked_about_each_record_once(teacher):
    records = blobs()
    asked = Asked(teacher)
    target = CountingTarget(asked)
    found = Distilled(epochs=3, records=100).probe(target, setting(records, plain()))
    assert found.shape == (len(ROWS), 4 * 5)
    assert target.queries == 100 + len(ROWS)
    seen = np.concatenate(asked.seen)
    np.testing.assert_array_equal(seen[:60], records.x[SPARE])
    np.testing.assert_array_equal(seen[100:], records.x[ROWS])


def test_without_epochs_it_is_the_target_alone(teacher):
    target = CountingTarget(teacher)
    found = Distilled(epochs=0).probe(target, setting(blobs(), None))
    assert target.queries == len(ROWS)
    loss = measure_outputs(teacher.query(blobs().x[ROWS], Access.SCORE), blobs().y[ROWS], ["loss"])["loss"]
    np.testing.assert_array_equal(found[:, :1], loss)


@pytest.mark.parametrize("module", [Drawn, Strange])
def test_snapshots_are_asked_in_evaluation_mode(teacher, module):
    """A record's steps depend neither on the other records asked about nor on their order."""
    records = blobs()
    recipe = TorchRecipe(model=module, batch_size=16, lr=0.05)
    probe = Distilled(epochs=3)
    whole = probe.probe(teacher, setting(records, recipe))
    order = np.random.default_rng(0).permutation(len(ROWS))
    np.testing.assert_allclose(
        probe.probe(teacher, setting(records, recipe, rows=ROWS[order])), whole[order], atol=1e-6
    )
    alone = probe.probe(teacher, setting(records, recipe, rows=ROWS[7:8]))
    np.testing.assert_allclose(alone, whole[7:8], atol=1e-6)


def test_students_differ_only_in_what_their_teachers_say(teacher):
    records, probe = blobs(), Distilled(epochs=2)
    again = probe.probe(teacher, setting(records, plain()))
    np.testing.assert_array_equal(probe.probe(teacher, setting(records, plain())), again)
    other = setting(records, plain(), seed=6)
    assert not np.array_equal(probe.probe(teacher, other), again)
    shifted = Shifted(teacher)
    moved = probe.probe(shifted, setting(records, plain()))
    np.testing.assert_allclose(moved, again, rtol=1e-4, atol=1e-4)  # a constant added to all logits says nothing new


class Shifted:
    access = Access.SCORE

    def __init__(self, inner):
        self.inner = inner

    def query(self, x, want):
        return Outputs("logits", self.inner.query(x, want).values + np.float32(8))


def test_too_few_records_are_joined_by_their_offspring(teacher):
    records, g = blobs(), setting(blobs(), plain())
    own = Distilled(records=40).material(g)
    np.testing.assert_array_equal(own, records.x[SPARE])
    more = Distilled(records=300).material(g)
    assert more.shape == (300, 6)
    np.testing.assert_array_equal(more[:60], records.x[SPARE])
    for column in range(6):
        assert np.isin(more[60:, column], records.x[SPARE, column]).all()
    assert not any((more[60:] == row).all(1).sum() > 5 for row in records.x[SPARE])
    alone = Distilled().material(replace(g, spare=SPARE[:3]))
    assert alone.shape == records.x.shape
    np.testing.assert_array_equal(alone[:3], records.x[SPARE[:3]])
    assert not np.isin(alone[3:, 0], records.x[SPARE, 0]).all()


def test_other_models_and_tables_are_distilled_into_a_network():
    pytest.importorskip("sklearn")
    from sklearn.tree import DecisionTreeClassifier

    from vestige.backends.sklearn import SklearnRecipe

    records = blobs()
    table = pd.DataFrame({"a": records.x[:, 0], "b": np.where(records.x[:, 1] > 0, "yes", "no"), "c": records.x[:, 2]})
    tabled = Records(table, records.y, records.ids, None, records.classes)
    recipe = SklearnRecipe(DecisionTreeClassifier(max_depth=3), preprocess="auto")
    tree = recipe.fit(tabled, np.arange(60), 0)
    with pytest.raises(UsageError, match=r"SklearnRecipe cannot do.*student = 'mlp'"):
        Distilled(epochs=2).probe(tree, setting(tabled, recipe))
    found = Distilled(epochs=40, student="mlp").probe(tree, setting(tabled, recipe)).reshape(len(ROWS), 41, 5)
    assert np.isfinite(found).all()
    # The student nears its teacher: its answers are as sure in the end as they were unsure at first.
    assert (
        abs(found[:, -2, 3].mean() - found[:, -1, 3].mean()) < abs(found[:, 0, 3].mean() - found[:, -1, 3].mean()) / 2
    )


def test_one_logit_for_two_classes():
    g = np.random.default_rng(0)
    x = g.normal(size=(90, 3)).astype(np.float32)
    records = Records(x, (x[:, 0] > 0).astype(np.int64), np.arange(90), None, ("no", "yes"))

    def single():
        return nn.Sequential(nn.Linear(3, 1))

    class Sure:
        access = Access.SCORE

        def query(self, x, want):
            p = 1 / (1 + np.exp(-2.0 * x[:, 0].astype(np.float64)))
            return Outputs("probabilities", np.column_stack([1 - p, p]))

    recipe = TorchRecipe(model=single, lr=0.5, batch_size=10, weight_decay=0.0, momentum=0.0)
    found = Distilled(epochs=80).probe(Sure(), setting(records, recipe, rows=np.arange(50), spare=np.arange(50, 90)))
    steps = found.reshape(50, 81, 5)
    np.testing.assert_allclose(steps[:, -2], steps[:, -1], atol=0.02)  # the teacher is a logistic model too
    assert np.abs(steps[:, 0] - steps[:, -1]).max() > 0.05


@pytest.mark.parametrize(
    "key", ["distilled(epochs=-1)", "distilled(records=0)", "distilled(student='tree')", "snapshots(count=0)"]
)
def test_impossible_parameters_end_in_one_sentence(key):
    with pytest.raises(UsageError, match="Expected"):
        create(key)


def test_what_cannot_be_distilled_is_refused(teacher):
    records = blobs()
    with pytest.raises(UsageError, match="recipe"):
        Distilled(epochs=2).probe(teacher, setting(records, None))

    class Labels:
        access = Access.SCORE

        def query(self, x, want):
            return Outputs("labels", np.zeros(len(x), np.int64))

    with pytest.raises(AccessError, match="labels only"):
        Distilled(epochs=2).probe(Labels(), setting(records, plain()))
    with pytest.raises(ModelError, match=r"diverged in epoch"):
        Distilled(epochs=8).probe(teacher, setting(records, plain().__class__(hidden=(16,), lr=1e20)))

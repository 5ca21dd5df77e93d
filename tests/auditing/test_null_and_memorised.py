"""End to end, with really trained networks: records nobody trained on must score like chance, memorised ones must be
found.
"""

import numpy as np
import pytest

from vestige.attacks import ATTACKS, resolve
from vestige.attacks.assemble import Field
from vestige.auditing.inputs import Inputs
from vestige.auditing.protocol import lacking, run, stand_ins
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.datasets import load_dataset
from vestige.metrics import area, roc
from vestige.records import Records
from vestige.shadow import STANDARD, Demand, gather
from vestige.split import draw
from vestige.store import Store
from vestige.target import Access

pytest.importorskip("torch")
from vestige.backends.torch import TorchRecipe

EVERY = resolve("full", task="classification", access=Access.SCORE)
DRAWS = 60
LEARNED = {"quantile", "shokri", "ml_leaks_1", "ml_leaks_2"}  # they fit a model each time


def attack_name(label):
    return label.partition("[")[0]


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    """33 two-layer networks trained on other records, measured on 900 records that none of them ever saw."""
    digits = load_dataset("digits")
    order = np.random.default_rng(0).permutation(len(digits))
    records = digits.take(order)
    taught = draw(600, shadows=32, seed=1)
    masks = np.zeros((33, len(records)), bool)
    masks[:, :600] = taught.masks
    split = type(taught)(masks, taught.blocks, np.arange(600, 1500), np.arange(1500, 1797), 1, "blocks")
    keys = tuple(dict.fromkeys(key for _, attack in EVERY for key in attack.needs.signals))
    demand = Demand(keys=keys, rows=np.concatenate([split.audited, split.population]))
    recipe = TorchRecipe(model="mlp", hidden=(32,), epochs=15, batch_size=32, lr=0.1, momentum=0.9)
    pool = gather(split, recipe, records, demand, Store(tmp_path_factory.mktemp("store")))
    return records.take(demand.rows), pool.signals


KNOW_MORE = {"ensemble", "model_update", "timing"}
"""Attacks that a battery leaves out: they join others, or need snapshots of an update, or a clock."""


def test_every_registered_attack_is_in_the_full_battery_of_some_access_or_needs_more_than_access():
    found = {label.partition("[")[0] for level in Access for label, _ in resolve("full", access=level)}
    assert found | KNOW_MORE == set(ATTACKS.names())


@pytest.fixture(scope="module")
def worlds(unseen):
    """Those networks' answers under masks that were drawn after the models were trained on something else."""
    records, table = unseen
    found = []
    for seed in range(DRAWS):
        split = draw(900, shadows=32, seed=seed)
        masks = np.zeros((33, len(records)), bool)
        masks[:, :900] = split.masks
        split = type(split)(masks, split.blocks, np.arange(900), np.arange(900, len(records)), seed, "blocks")
        found.append(Field(records=records, split=split, table=table, access=Access.SCORE, seed=seed))
    return found


@pytest.mark.parametrize(("label", "attack"), EVERY, ids=[label for label, _ in EVERY])
def test_records_nobody_trained_on_score_like_chance(worlds, label, attack):
    """Nothing but a leak can tell members from the others."""
    draws = 6 if attack_name(label) in LEARNED else DRAWS
    areas, alarms = [], []
    for field in worlds[:draws]:
        assert not lacking(field, attack)
        scores = attack.score(field.evidence(0, attack))
        truth = field.membership(0)
        curve = roc(scores[truth], scores[~truth])
        areas.append(area(curve))
        cut = np.quantile(scores[~truth], 0.9)
        alarms.append((scores[truth] > cut).mean() - (scores[~truth] > cut).mean())
    standard_error = 1 / np.sqrt(12 * 450 * 450 / 901) / np.sqrt(draws)
    assert abs(np.mean(areas) - 0.5) < 3 * standard_error
    assert abs(np.mean(alarms)) < 3 * np.sqrt(2 * 0.1 * 0.9 / 450 / draws)


@pytest.fixture(scope="module")
def memorised(tmp_path_factory):
    """Networks that memorised random labels: what they know about a record they can only know from training on it."""
    digits = load_dataset("digits")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, len(digits))
    records = Records.build(digits.x[:900], labels[:900])
    recipe = TorchRecipe(model="mlp", hidden=(256,), epochs=120, batch_size=32, lr=0.1, momentum=0.9)
    config = AuditConfig.model_validate(
        {"shadow": {"count": 16}, "audit": {"attacks": "full", "fpr": [0.05]}, "data": {"population": 0.15}}
    )
    store = Store(tmp_path_factory.mktemp("memorised"))
    return Audit(inputs=Inputs(records=records, recipe=recipe), config=config, store=store).run()


def test_memorised_labels_are_found(memorised):
    assert memorised.target.train_accuracy > 0.98
    assert memorised.attack("loss").auc.value > 0.95
    for name in ("lira", "rmia", "calibrated", "attack_r", "sablayrolles", "modified_entropy", "confidence"):
        assert memorised.attack(name).auc.value > 0.9, name


@pytest.mark.parametrize("label", [label for label, _ in EVERY])
def test_no_attack_has_its_sign_wrong(memorised, label):
    result = memorised.attack(label)
    assert result.status == "ok", result.reason
    assert result.auc.value > 0.5


def test_stand_ins_come_from_different_blocks(worlds):
    field = worlds[0]
    models = stand_ins(field, 5)
    assert len(set(field.split.blocks[models])) == 5
    attack = ATTACKS.create("lira")
    scores = run(field, attack, models)
    assert [len(one) for one in scores.stand_ins] == [900] * 5
    assert all(len(field.references(m, attack)) == 30 for m in models)
    assert set(STANDARD) <= set(field.table.keys())

"""Small pools of really trained networks, measured from the inside: one that memorised, one that never saw a record."""

from __future__ import annotations

import tempfile
from functools import lru_cache

import numpy as np

from vestige.attacks.assemble import Field
from vestige.backends.torch import TorchRecipe
from vestige.datasets import load_dataset
from vestige.metrics import area, roc
from vestige.probing import probe_pool
from vestige.records import Records
from vestige.shadow import Demand, gather
from vestige.split import Split, draw
from vestige.store import Store
from vestige.target import Access

ANSWERS = ("loss", "log_odds", "log_probability(temperature=1.25)")
KEYS = (*ANSWERS, "gradient_norm", "gradient_norm(layer='last')", "white_box_vector", "components")
DISPLACEMENT = "displacement(data='references',layers=2,proxies=10)"
SHADOWS = 8


@lru_cache(maxsize=1)
def memorised():
    """Return a field of networks that learnt random labels by heart, 300 records, and a seventh of them held out."""
    digits = load_dataset("digits")
    draws = np.random.default_rng(0)
    order = draws.permutation(len(digits))[:350]
    records = Records.build(digits.x[order], draws.integers(0, 10, 350))
    recipe = TorchRecipe(model="mlp", hidden=(64, 32), epochs=100, batch_size=16, lr=0.1, momentum=0.9)
    split = draw(350, shadows=SHADOWS, seed=1, population=50 / 350)
    return _field(records, split, recipe)


@lru_cache(maxsize=1)
def unseen():
    """Return records that no network trained on and the table of what networks trained on others show of them."""
    digits = load_dataset("digits")
    order = np.random.default_rng(0).permutation(len(digits))[:1000]
    records = digits.take(order)
    taught = draw(400, shadows=SHADOWS, seed=1)
    masks = np.zeros((1 + SHADOWS, 1000), bool)
    masks[:, :400] = taught.masks
    split = Split(masks, taught.blocks, np.arange(400, 900), np.arange(900, 1000), 1, "blocks")
    recipe = TorchRecipe(model="mlp", hidden=(32, 16), epochs=15, batch_size=32, lr=0.1, momentum=0.9)
    return _field(records, split, recipe)


def _field(records, split, recipe):
    store = Store(tempfile.mkdtemp())
    demand = Demand(keys=KEYS, rows=np.concatenate([split.audited, split.population]))
    pool = gather(split, recipe, records, demand, store)
    probed = [0, 1, 3, 5, 7]
    table = probe_pool(pool.signals, [DISPLACEMENT], probed, split, recipe, records, store)
    return Field(records=records, split=split, table=table, access=Access.WHITE_BOX, seed=0)


def memorised_area(attack):
    """Return the AUC of the attack where members were memorised."""
    field = memorised()
    truth = field.membership(0)
    scores = attack.score(field.evidence(0, attack))
    assert scores.shape == truth.shape
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    return area(roc(scores[truth], scores[~truth]))


def unseen_areas(attack, draws):
    """Return AUCs for memberships that are drawn after all models were trained, on other records."""
    real = unseen()
    found = []
    for seed in range(draws):
        drawn = draw(500, shadows=SHADOWS, seed=seed)
        masks = np.zeros((1 + SHADOWS, 1000), bool)
        masks[:, 400:900] = drawn.masks
        split = Split(masks, drawn.blocks, real.split.audited, real.split.population, seed, "blocks")
        field = Field(records=real.records, split=split, table=real.table, access=Access.WHITE_BOX, seed=seed)
        truth = field.membership(0)
        scores = attack.score(field.evidence(0, attack))
        found.append(area(roc(scores[truth], scores[~truth])))
    return np.array(found)


def is_chance(areas):
    """Say whether the mean AUC is a half within three standard errors of 250 members and as many others."""
    error = np.sqrt(501 / (12 * 250 * 250)) / np.sqrt(len(areas))
    return abs(areas.mean() - 0.5) < 3 * error

"""`vestige list`: what it says of an attack is what the attack does."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from rich.console import Console
from sklearn.linear_model import LogisticRegression

from vestige.attacks import ATTACKS, facts
from vestige.attacks.augmentation import Augmentation
from vestige.attacks.base import Needs
from vestige.attacks.bayes_wb import BayesWB
from vestige.attacks.boundary import Boundary
from vestige.attacks.gradient_norm import GradientNorm
from vestige.attacks.noise import Noise
from vestige.attacks.requirements import knowledge_of, queries_of
from vestige.attacks.threshold import ModifiedEntropy
from vestige.attacks.trajectory import Trajectory
from vestige.attacks.transfer import Transfer
from vestige.backends.sklearn import SklearnRecipe
from vestige.listing import COLUMNS, show_listing
from vestige.listing import facts as listed
from vestige.records import Records
from vestige.signals import create
from vestige.signals.base import Probe, Setting
from vestige.signals.measure import measure
from vestige.target import Access, CountingTarget


@pytest.fixture
def shown(capsys, monkeypatch):
    """What `vestige list` prints on a screen of so many columns."""

    def show(what, width):
        monkeypatch.setenv("COLUMNS", str(width))
        show_listing(what, json=False)
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_attack_is_listed_whole_at_any_width(shown, width):
    text = shown("attacks", width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for column in COLUMNS["attacks"]:
        assert re.search(rf"\b{column}\b", text)
    for name in ATTACKS.names():
        assert re.search(rf"^ *{name} .*\b{facts(name).access}\b", text, re.MULTILINE)
    words = "".join(text.split())
    assert "2ormoreshadowmodels" in words
    assert text.count("Carlini et al.") >= 2


def test_a_table_on_a_narrow_screen_keeps_rows_short(shown):
    text = shown("attacks", 80)
    table = text.partition("\n\n")[0]
    assert len(table.splitlines()) < 2.5 * len(ATTACKS.names())


def test_json_has_every_fact(capsys):
    show_listing("attacks", json=True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == ATTACKS.names()
    for name, row in rows.items():
        known = facts(name)
        assert row["queries"] == known.queries
        assert row["knowledge"] == list(known.knowledge)
        assert row["paper"] == known.paper
        assert row["params"].keys() == known.params.keys()
    assert rows["lira"]["knowledge"] == ["2 or more shadow models, IN and OUT"]
    assert rows["gap"]["knowledge"] == []
    assert rows["gap"]["queries"] == "1"


@pytest.mark.parametrize("what", ["signals", "datasets", "examples", "executors", "formats", "targets", "defences"])
def test_the_other_kinds_fit_a_narrow_screen_too(shown, what):
    text = shown(what, 80)
    assert max(map(len, text.splitlines())) <= 80
    for row in listed(what):
        assert row["name"] in text


def test_a_plug_in_that_cannot_be_loaded_is_listed_with_the_reason(shown, monkeypatch):
    monkeypatch.setitem(ATTACKS._references, "lost", "vestige.attacks.nowhere:Lost")
    monkeypatch.setattr(Console, "width", 100)
    text = shown("attacks", 100)
    assert re.search(r"lost .*unavailable", text)


@pytest.mark.parametrize(
    ("attack", "knowledge"),
    [
        (ModifiedEntropy(), ()),
        (ModifiedEntropy(thresholds="class"), ("1 to 10 shadow models, IN and OUT",)),
        (GradientNorm(calibration="difference"), ("1 or more shadow models, OUT",)),
        (Transfer(), ("20 or more held-out records", "the recipe")),
        (BayesWB(data="spare", combination="sum"), ("20 or more held-out records", "the recipe")),
        (Trajectory(), ("1 to 2 shadow models, IN and OUT", "the recipe")),
        (Trajectory(student="mlp"), ("1 to 2 shadow models, IN and OUT",)),
        (Trajectory(process="snapshots"), ("1 to 2 shadow models, IN and OUT", "snapshots of the training")),
    ],
    ids=str,
)
def test_knowledge_follows_the_parameters(attack, knowledge):
    assert knowledge_of(attack) == knowledge


def test_what_an_attack_says_of_itself_is_told_too():
    @dataclass(frozen=True, kw_only=True)
    class Odd:
        access: ClassVar[Access] = Access.SCORE
        paper: ClassVar[str] = "nowhere"
        knows: ClassVar[tuple[str, ...]] = ("two snapshots",)
        asks: ClassVar[str] = "2"
        needs: ClassVar[Needs] = Needs(signals=("loss",), shadows=1, wants=1, side="out", population=True)

        def score(self, evidence):
            return np.zeros(len(evidence))

    assert knowledge_of(Odd()) == ("1 shadow model, OUT", "held-out records", "two snapshots")
    assert queries_of(Odd()) == "2"


HELD_OUT, ROWS = 30, 40


@pytest.fixture(scope="module")
def world():
    """Records, half of which train a model, and a setting to probe it in."""
    draw = np.random.default_rng(3)
    x = draw.normal(size=(200, 6)).astype(np.float32)
    records = Records.build(x, (x[:, 0] + x[:, 1] > 0).astype(int))
    recipe = SklearnRecipe(LogisticRegression())
    target = recipe.fit(records, np.arange(100), 0)
    rows, spare = np.arange(ROWS), np.arange(200 - HELD_OUT, 200)
    setting = Setting(records=records, rows=rows, spare=spare, references=(), recipe=recipe, budget=None, seed=0)
    return records, target, rows, setting


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (ModifiedEntropy(), ROWS),
        (Noise(queries=7), 8 * ROWS),
        (Augmentation(), 17 * ROWS),
        (Augmentation(kind="imputation", reach=4), 5 * ROWS),
        (Transfer(), ROWS + HELD_OUT),
    ],
    ids=str,
)
def test_the_queries_listed_are_those_that_are_made(world, attack, expected):
    records, target, rows, setting = world
    counting = CountingTarget(target)
    for key in attack.needs.signals:
        signal = create(key)
        if isinstance(signal, Probe):
            signal.probe(counting, setting)
        else:
            measure(counting, records, rows, [key])
    assert counting.queries == expected
    listed_count = queries_of(attack).replace("5 on images, ", "")
    each = int(re.findall(r"\d+", listed_count)[0])
    assert expected == each * ROWS + (HELD_OUT if "held-out" in listed_count else 0)


def test_a_search_takes_no_more_queries_than_listed(world):
    _, target, _, setting = world
    attack = Boundary(queries=60)
    assert queries_of(attack) == "budget, default 60"
    counting = CountingTarget(target)
    found = create(attack.needs.signals[0]).probe(counting, setting)
    assert found[:, 2].max() <= 60
    assert queries_of(Boundary()) == f"budget, default {Boundary().queries:,}" == "budget, default 1,000"

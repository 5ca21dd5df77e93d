from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
from attacks import internal_pools as pools
from vestige.attacks.bayes_wb import BayesWB
from vestige.errors import AccessError, UsageError
from vestige.signals import create
from vestige.signals.base import Probe
from vestige.target import Access

EVERY = [BayesWB(), BayesWB(combination="sum"), BayesWB(combination="sum", form="logit")]


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_memorised_records_are_found(attack):
    assert pools.memorised_area(attack) > 0.9


@pytest.mark.parametrize("attack", [*EVERY, BayesWB(combination="last")], ids=repr)
def test_records_nobody_trained_on_score_like_chance(attack):
    assert pools.is_chance(pools.unseen_areas(attack, 12 if attack.trains else 60))


def test_layers_together_know_more_than_the_last_one():
    last = pools.memorised_area(BayesWB(combination="last"))
    assert last > 0.75
    assert pools.memorised_area(BayesWB()) > last


def test_what_is_not_learnt_is_read_from_the_columns():
    field = pools.memorised()
    for form, first in (("logit", 0), ("odds", 1)):
        attack = BayesWB(combination="sum", form=form)
        evidence = field.evidence(0, attack)
        columns = evidence.target(attack.key)[:, 0].astype(np.float64)
        assert columns.shape == (300, 6)
        np.testing.assert_array_equal(attack.score(evidence), columns[:, first::2].sum(axis=1))
        last = replace(attack, combination="last")
        np.testing.assert_array_equal(last.score(evidence), columns[:, first])


def test_it_learns_from_the_models_that_were_probed_and_no_others():
    field = pools.memorised()
    assert len(field.references(0, BayesWB())) == 4
    assert field.references(3, BayesWB()).tolist() == [1, 5, 7]
    assert len(pools.memorised().references(0, BayesWB(combination="last"))) == 0


def test_too_few_shadow_rows_leave_the_sum():
    attack = BayesWB()
    evidence = pools.memorised().evidence(0, attack)
    few = replace(
        evidence,
        labels=evidence.labels[:6],
        own=evidence.own.slice(0, 6),
        shadows=evidence.shadows.slice(0, 6),
        masks=evidence.masks[:, :6],
    )
    np.testing.assert_allclose(attack.score(few), BayesWB(combination="sum").score(few))


def test_what_it_declares():
    assert BayesWB().access == Access.WHITE_BOX
    probe = create(BayesWB(layers=1, proxies=3, data="spare").key)
    assert isinstance(probe, Probe)
    assert (probe.layers, probe.proxies, probe.data) == (1, 3, "spare")
    assert BayesWB().key == pools.DISPLACEMENT
    assert BayesWB(combination="last").needs.side == "none"
    for options, message in (
        ({"combination": "mean"}, "learned, sum, last"),
        ({"form": "weights"}, "odds or logit"),
        ({"data": "all"}, "references or spare"),
        ({"proxies": 0}, "proxies"),
        ({"rows": 0}, "row"),
    ):
        with pytest.raises(UsageError, match=message):
            BayesWB(**options)
    evidence = pools.memorised().evidence(0, BayesWB())
    with pytest.raises(AccessError):
        BayesWB().score(replace(evidence, needs=BayesWB(combination="last").needs))

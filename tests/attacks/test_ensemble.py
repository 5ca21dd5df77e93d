"""Ensembles: what they learn from, what they are allowed, and what they find."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from vestige.attacks import ATTACKS, params_of, resolve, unfit
from vestige.attacks.assemble import Field
from vestige.attacks.base import Needs
from vestige.attacks.ensemble import Ensemble
from vestige.attacks.standing import blocks_of, narrowed, stand_ins, standing, without_block
from vestige.errors import AccessError, AuditError, UsageError
from vestige.records import Records
from vestige.seeds import rng, seed_for
from vestige.signals import SignalTable
from vestige.split import draw
from vestige.target import Access
from vestige.testing import ATTACK_CHECKS, check_attack, simulate
from vestige.testing.conformance import auc, auc_error

RULES = ("mean_rank", "probit", "stacking", "union", "intersection")


@dataclass(frozen=True, kw_only=True)
class PureNoise:
    """Numbers that have nothing to do with membership, other ones for every model."""

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = "none"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    @property
    def needs(self):
        return Needs(signals=("loss",))

    def score(self, evidence):
        mark = int(np.abs(evidence.target("loss")).view(np.uint32).astype(np.uint64).sum())
        return rng(seed_for(mark, "pure noise"), "scores").standard_normal(len(evidence))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_conforms(rule):
    attack = Ensemble(rule=rule, family="logistic")
    check_attack(attack, only=[name for name in ATTACK_CHECKS if name != "declared"])


def test_noise_among_the_attacks_costs_stacking_next_to_nothing(monkeypatch):
    monkeypatch.setitem(ATTACKS._values, "pure_noise", PureNoise)
    for family in ("logistic", "boosting"):
        for seed in range(3):
            plain = Ensemble(of=("loss", "lira"), rule="stacking", family=family)
            noisy = Ensemble(of=("loss", "lira", "pure_noise"), rule="stacking", family=family)
            trial = simulate(noisy.needs, seed=seed, records=1000, memory=1.0)
            found = [auc(attack.score(trial.evidence), trial.members) for attack in (plain, noisy)]
            assert abs(found[1] - found[0]) < 2 * auc_error(trial.members)
            assert found[0] > 0.7


def test_stacking_loses_little_to_its_best_attack_and_gains_on_its_worst():
    attack = Ensemble()
    trial = simulate(attack.needs, seed=4, records=2000, shadows=32, memory=1.0)
    alone = [auc(p.score(narrowed(trial.evidence, p.needs)), trial.members) for p in attack.parts]
    joined = auc(attack.score(trial.evidence), trial.members)
    assert joined > max(alone) - auc_error(trial.members)
    assert joined > min(alone) + 5 * auc_error(trial.members)


@pytest.mark.parametrize("rule", ["union", "intersection"])
def test_verdicts_on_a_target_are_wrong_as_often_as_asked_at_most(rule):
    attack, wrong, count = Ensemble(rule=rule, alpha=0.05), 0, 0
    for seed in range(10):
        trial = simulate(attack.needs, seed=seed, records=400, memory=1.0)
        accused = attack.score(trial.evidence) >= 0
        wrong += int((accused & ~trial.members).sum())
        count += int((~trial.members).sum())
    assert wrong / count <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / count)


def test_nothing_is_learnt_from_the_target():
    attack = Ensemble(rule="probit")
    evidence = simulate(attack.needs, seed=1).evidence
    other = simulate(attack.needs, seed=2).evidence
    learnt = attack._scores(evidence)[:2]
    again = attack._scores(replace(evidence, own=other.own))[:2]
    assert all(np.array_equal(a, b) for a, b in zip(learnt, again, strict=True))


@pytest.mark.parametrize("fraction", [0.5, 0.3])
def test_a_stand_in_leaves_with_its_block_so_that_counts_say_nothing(fraction):
    needs = Needs(signals=("loss",), shadows=2, side="both")
    split = draw(60, shadows=20, seed=0, fraction=fraction, population=0.2)
    total = len(split.audited) + len(split.population)
    table = SignalTable({"loss": rng(0, "values").random((21, total, 1)).astype(np.float32)}, total, 21)
    records = Records.build(np.zeros((60, 1)), np.arange(60) % 2)
    field = Field(records=records, split=split, table=table, access=Access.SCORE, seed=0)
    evidence = field.evidence(0, _Reader(needs))
    size = int((split.blocks[1:] == split.blocks[1]).sum())
    chosen = stand_ins(evidence, 3)
    assert len(set(split.blocks[1:][chosen])) == len(chosen) == min(3, 20 // size)
    for model in chosen:
        inner = standing(evidence, model)
        assert np.array_equal(inner.target("loss"), table.model("loss", 1 + model)[: len(split.audited)])
        assert np.array_equal(inner.population.own.model("loss", 0), table.model("loss", 1 + model)[len(evidence) :])
        assert len(inner.masks) == inner.population.shadows.models == 20 - size
        assert len(np.unique(inner.masks.sum(axis=0))) == 1
        assert len(np.unique(evidence.masks[np.arange(20) != model].sum(axis=0))) == 2
        assert without_block(evidence, model).shadows.models == 20 - size


@dataclass(frozen=True)
class _Reader:
    needs: Needs


def test_pairs_are_found_where_nobody_says_what_was_drawn_together():
    evidence = simulate(Needs(signals=("loss",), shadows=2, side="both"), shadows=6).evidence
    assert evidence.block is None
    assert blocks_of(evidence).tolist() == [0, 0, 2, 2, 4, 4]


def test_dear_signals_do_not_take_shadow_models_from_the_other_attacks():
    attack = Ensemble(of=("lira", "noise"), rule="probit")
    split = draw(40, shadows=12, seed=0)
    values = rng(0, "values").random((13, 40, 1)).astype(np.float32)
    probed = [values[m] if m in (0, 1, 3, 5) else None for m in range(13)]
    table = SignalTable(dict.fromkeys(attack.parts[0].needs.signals, values)
                        | dict.fromkeys(attack.parts[1].needs.signals, probed), 40, 13)  # fmt: skip
    records = Records.build(np.zeros((40, 1)), np.arange(40) % 2)
    field = Field(records=records, split=split, table=table, access=Access.SCORE, seed=0)
    evidence = field.evidence(0, attack)
    assert len(evidence.masks) == 12
    assert stand_ins(evidence, 9) == [0, 2, 4]
    inner = standing(evidence, 2)
    assert len(narrowed(inner, attack.parts[0].needs).masks) == 10


def test_a_part_sees_no_more_than_the_ensemble_may():
    evidence = simulate(Needs(signals=("loss",), shadows=1, side="out")).evidence
    with pytest.raises(AccessError, match="log_odds"):
        narrowed(evidence, Needs(signals=("log_odds",)))
    with pytest.raises(AccessError, match="reference models"):
        narrowed(evidence, Needs(signals=("loss",), side="both"))
    plain = narrowed(evidence, Needs(signals=("loss",), side="none"))
    assert len(plain.masks) == 0
    with pytest.raises(AccessError, match="shadow models"):
        Ensemble(of=("loss",)).score(replace(evidence, needs=Needs(signals=("loss",))))
    with pytest.raises(AuditError, match="more shadow models"):
        Ensemble().score(simulate(Ensemble().needs, shadows=2).evidence)


def test_access_and_tasks_are_those_that_all_attacks_have():
    assert Ensemble(of=("gap",)).access == Access.LABEL
    assert Ensemble(of=("gap", "lira")).access == Access.SCORE
    assert Ensemble(of=("lira", "gradient_norm")).access == Access.WHITE_BOX
    assert "white_box" in unfit(Ensemble(of=("gradient_norm",)))
    assert Ensemble(of=("gap", "lira")).tasks == {"classification"}
    assert Ensemble(of=("loss", "attack_r")).tasks == {"classification", "regression"}


def test_attacks_are_named_in_three_ways_and_one_text():
    named = Ensemble(of=("loss", {"name": "rmia", "params": {"temperature": 2.0}}, "lira(centre='mean')"))
    assert named.of == ("loss", "rmia(temperature=2.0)", "lira(centre='mean')")
    assert Ensemble(**json.loads(json.dumps(params_of(named)))) == named
    ((label, attack),) = resolve([{"name": "ensemble", "params": {"of": ["loss", "lira"], "rule": "union"}}])
    assert label == "ensemble[loss+lira, union]"
    assert attack == Ensemble(of=("loss", "lira"), rule="union")


def test_a_regression_and_a_budget_reach_the_attacks_inside():
    of = {"of": ["loss", "lira", "attack_r"]}
    ((_, attack),) = resolve([{"name": "ensemble", "params": of}], task="regression")
    assert attack.of == ("loss", "lira(signal='negative_log_loss')", "attack_r")
    check_attack(attack, only=["knows_nothing_of_nothing", "finds_memorised_records", "permutes"])
    ((_, attack),) = resolve([{"name": "ensemble", "params": {"of": ["gap", "noise"]}}], access="label", budget=50)
    assert attack.of == ("gap", "noise(queries=49)")
    evidence = simulate(attack.needs, access=Access.LABEL).evidence
    assert attack.queries_taken(evidence) == 1 + attack.parts[1].queries_taken(evidence)
    assert Ensemble().queries_taken(simulate(Ensemble().needs).evidence) == 0


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"of": ("liar",)}, "no attack called 'liar'"),
        ({"of": ()}, "list of attacks"),
        ({"of": "lira"}, "list of attacks"),
        ({"of": ("rmia(temprature=2)",)}, "no parameter 'temprature'"),
        ({"of": ("rmia(",)}, "such as lira"),
        ({"of": (3,)}, "such as lira"),
        ({"of": ({"params": {}},)}, "name, params"),
        ({"of": ("ensemble",)}, "ensemble of ensembles"),
        ({"rule": "vote"}, "mean_rank"),
        ({"family": "mlp"}, "logistic or boosting"),
        ({"alpha": 1.0}, "between 0 and 1"),
        ({"stand_ins": 0}, "at least one"),
        ({"rule": "union", "prior": True}, "'union' does not give"),
    ],
)
def test_what_makes_no_ensemble_is_refused_in_a_sentence(params, says):
    with pytest.raises(UsageError, match=says):
        Ensemble(**params)

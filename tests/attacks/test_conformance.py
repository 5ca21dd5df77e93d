"""Every attack, in its usual form and in the variants of the full battery, has every property of the kit."""

from __future__ import annotations

import numpy as np
import pytest

from vestige.attacks import ATTACKS, resolve
from vestige.attacks.lira import LiRA
from vestige.attacks.threshold import Loss
from vestige.testing import ATTACK_CHECKS, check_attack, simulate
from vestige.testing.conformance import auc, auc_error

BY_THRESHOLD = [
    {"name": name, "params": {"thresholds": thresholds}}
    for name in ("gap", "loss", "confidence", "entropy", "modified_entropy")
    for thresholds in ("global", "class")
]
REGRESSION = dict(resolve("full", task="regression"))
VARIANTS = dict(resolve([*ATTACKS.names(), "full", *BY_THRESHOLD])) | REGRESSION
TARGETS = 20


@pytest.mark.parametrize("check", ATTACK_CHECKS)
@pytest.mark.parametrize("label", VARIANTS)
def test_conforms(label, check):
    check_attack(VARIANTS[label], only=[check])


@pytest.mark.parametrize("label", dict(resolve("full")))
def test_a_null_model_gives_chance_and_false_positives_at_their_rate(label):
    """No model saw any record: shadow models remember theirs, the target nothing, and members are a random half."""
    attack = VARIANTS[label]
    areas, rates = [], []
    for seed in range(TARGETS):
        trial = simulate(attack.needs, seed=100 + seed, records=400, population=200, shadows=8, target_memory=0.0)
        scores, members = attack.score(trial.evidence), trial.members
        areas.append(auc(scores, members))
        cut = np.sort(scores[~members])[-20]
        rates.append((scores[members] > cut).mean() - (scores[~members] > cut).mean())
    assert abs(np.mean(areas) - 0.5) <= 3 * auc_error(members) / np.sqrt(TARGETS)
    # At the threshold that 19 of 200 non-members exceed, members exceed it as often.
    assert abs(np.mean(rates)) <= 3 * np.sqrt(2 * 0.1 * 0.9 / 200 / TARGETS)


def test_memorised_label_noise_is_found_by_loss_and_no_worse_by_lira():
    areas = {}
    for attack in (Loss(), LiRA()):
        trial = simulate(attack.needs, seed=7, records=600, classes=10, memory=4.0, difficulty=0.5)
        areas[type(attack)] = auc(attack.score(trial.evidence), trial.members)
    assert areas[Loss] > 0.9
    assert areas[LiRA] >= areas[Loss]

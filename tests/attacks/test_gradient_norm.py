from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
from attacks import internal_pools as pools
from vestige.attacks.gradient_norm import GradientNorm
from vestige.attacks.lira import LiRA
from vestige.attacks.threshold import Loss
from vestige.errors import AccessError, UsageError
from vestige.signals import SignalTable
from vestige.target import Access

EVERY = [
    GradientNorm(),
    GradientNorm(layer="last"),
    GradientNorm(calibration="difference"),
    GradientNorm(calibration="lira"),
]


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_memorised_records_are_found(attack):
    assert pools.memorised_area(attack) > 0.95


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_records_nobody_trained_on_score_like_chance(attack):
    assert pools.is_chance(pools.unseen_areas(attack, 60))


def test_it_is_no_worse_than_the_loss_where_records_were_memorised():
    assert pools.memorised_area(GradientNorm()) > pools.memorised_area(Loss()) - 0.01


def test_the_score_is_minus_the_logarithm_of_the_length():
    field = pools.memorised()
    attack = GradientNorm()
    evidence = field.evidence(0, attack)
    np.testing.assert_array_equal(attack.score(evidence), -evidence.target("gradient_norm")[:, 0].astype(np.float64))


def test_calibration_takes_away_the_mean_over_models_without_the_record():
    field = pools.memorised()
    attack = GradientNorm(calibration="difference")
    evidence = field.evidence(0, attack)
    scores = attack.score(evidence)
    for row in (0, 17, 299):
        out = [m for m in range(len(evidence.masks)) if not evidence.masks[m, row]]
        usual = np.mean([evidence.shadows.model("gradient_norm", m)[row, 0] for m in out])
        assert scores[row] == pytest.approx(usual - evidence.target("gradient_norm")[row, 0], abs=1e-5)
    columns = {
        "gradient_norm": np.where(evidence.masks[:, :, None], 1e6, evidence.shadows.block("gradient_norm", 0, 300))
    }
    spoilt = replace(evidence, shadows=SignalTable(columns, 300, len(evidence.masks)))
    np.testing.assert_array_equal(attack.score(spoilt), scores)


def test_the_likelihood_ratio_is_liras():
    field = pools.memorised()
    attack = GradientNorm(calibration="lira")
    expected = LiRA(signal="gradient_norm").score(field.evidence(0, attack))
    np.testing.assert_array_equal(attack.score(field.evidence(0, attack)), expected)


def test_what_it_declares():
    assert GradientNorm().access == Access.WHITE_BOX
    assert GradientNorm().needs.side == "none"
    assert GradientNorm(layer=2).key == "gradient_norm(layer=2)"
    assert GradientNorm(calibration="difference").needs.side == "out"
    with pytest.raises(UsageError, match="layer"):
        GradientNorm(layer="middle")
    with pytest.raises(UsageError, match="none, difference, lira"):
        GradientNorm(calibration="mean")
    attack = GradientNorm(calibration="difference")
    evidence = pools.memorised().evidence(0, attack)
    with pytest.raises(AccessError):
        attack.score(replace(evidence, needs=GradientNorm().needs))

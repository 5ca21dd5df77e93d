from __future__ import annotations

import numpy as np
import pytest

from reference.slow_thresholds import slow_risk
from vestige.attacks.base import Evidence
from vestige.attacks.risk_score import RiskScore
from vestige.errors import AuditError, UsageError
from vestige.signals import SignalTable
from vestige.target import Access
from vestige.testing import simulate

KEY = "modified_entropy"


def evidence(own, shadows, masks, labels, classes):
    own, shadows = np.float32(own), np.float32(shadows)
    return Evidence(
        access=Access.SCORE,
        needs=RiskScore().needs,
        labels=np.asarray(labels, np.int64),
        classes=classes,
        own=SignalTable({KEY: own[None, :, None]}, len(own), 1),
        shadows=SignalTable({KEY: shadows[:, :, None]}, len(own), len(shadows)),
        masks=np.asarray(masks, bool),
    )


@pytest.mark.parametrize(("bins", "prior"), [(5, 0.5), (1, 0.3), (12, 0.8)])
def test_posteriors_agree_with_counting_by_hand(bins, prior):
    attack = RiskScore(bins=bins, prior=prior)
    e = simulate(attack.needs, seed=3, records=80, shadows=4, classes=3, memory=1.5).evidence
    own, shadows = e.target(KEY)[:, 0], e.reference(KEY)[:, :, 0]
    got = attack.score(e)
    for i in range(len(e)):
        same = e.labels == e.labels[i]
        inside, outside = shadows[:, same][e.masks[:, same]], shadows[:, same][~e.masks[:, same]]
        expected = slow_risk(float(own[i]), inside.astype(float), outside.astype(float), bins, prior)
        assert got[i] == pytest.approx(expected, abs=1e-12)


def test_values_outside_and_between_take_the_nearest_bin():
    # Members at 1e-4, non-members at 1: five bins over four decades, three of them empty.
    e = evidence([1e-9, 1e-4, 2e-3, 0.05, 1.0, 100.0], [[1e-4] * 3 + [1.0] * 3], [[1, 1, 1, 0, 0, 0]], [0] * 6, 1)
    np.testing.assert_allclose(RiskScore().score(e), [1, 1, 1, 0, 0, 0])


def test_a_class_that_shadows_never_left_out_uses_all_classes():
    labels = [0, 0, 0, 0, 1, 1]
    e = evidence([1e-3, 1e-3, 1.0, 1.0, 1e-3, 1.0], [[1e-3, 1e-3, 1, 1, 1e-3, 1]], [[1, 1, 0, 0, 1, 1]], labels, 3)
    scores = RiskScore().score(e)
    assert scores[4] == pytest.approx((3 / 4) / (3 / 4))
    assert scores[5] == pytest.approx((1 / 4) / (1 / 4 + 1))
    assert scores[0] == 1.0
    assert scores[2] == 0.0


def test_the_posterior_is_calibrated_when_shadows_behave_as_the_target():
    risks, truths = [], []
    for seed in range(8):
        trial = simulate(RiskScore().needs, seed=seed, records=600, classes=3, memory=2.0)
        risks.append(RiskScore().score(trial.evidence))
        truths.append(trial.members)
    risk, truth = np.concatenate(risks), np.concatenate(truths)
    for low, high in ((0.0, 0.4), (0.4, 0.6), (0.6, 1.01)):
        which = (risk >= low) & (risk < high)
        assert which.sum() > 200
        assert truth[which].mean() == pytest.approx(risk[which].mean(), abs=0.05)


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="at least one bin"):
        RiskScore(bins=0)
    with pytest.raises(UsageError, match="between 0 and 1"):
        RiskScore(prior=1.0)
    with pytest.raises(AuditError, match="at least one shadow model"):
        RiskScore().score(evidence([1.0], np.empty((0, 1)), np.empty((0, 1), bool), [0], 1))

"""Thresholds, posteriors and extra targets: what is learnt on shadow models must hold for the target, and know
nothing of it.
"""

import numpy as np
import pytest

from vestige.attacks import ATTACKS
from vestige.attacks.assemble import Field
from vestige.auditing.gathering import gather_pool
from vestige.auditing.inputs import Inputs
from vestige.auditing.protocol import run, stand_ins
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.errors import UsageError
from vestige.metrics import area, calibrate, reliability, roc
from vestige.metrics.roc import threshold_at_fpr
from vestige.records import Records
from vestige.signals.base import SignalTable
from vestige.split import Split, draw
from vestige.store import Store
from vestige.target import Access

ATTACKED = ("loss", "lira", "lira_offline", "attack_r", "calibrated", "rmia")


def field_of(split, seed, *, shift=1.0):
    """A field without any training: log-odds of Gaussian records, higher where a model trained on the record."""
    rng = np.random.default_rng(seed)
    models, n = split.masks.shape
    odds = rng.normal(0, 2, n) + rng.normal(0, 0.6, (models, n)) + shift * split.masks
    loss = np.logaddexp(0, -odds)
    table = {"log_odds": odds, "loss": loss, "hinge": odds, "log_probability(temperature=1.25)": -loss}
    columns = {key: values.astype(np.float32)[:, :, None] for key, values in table.items()}
    records = Records.build(rng.normal(size=(n, 2)), np.arange(n) % 4)
    return Field(records=records, split=split, table=SignalTable(columns, n, models), access=Access.SCORE, seed=seed)


@pytest.mark.parametrize("name", ATTACKED)
@pytest.mark.parametrize(("shadows", "fraction"), [(4, 0.5), (10, 0.5), (64, 0.5), (18, 5 / 9), (12, 0.83)])
def test_a_threshold_set_on_shadow_models_keeps_its_rate_on_the_target(name, shadows, fraction):
    attack, asked, seen = ATTACKS.create(name), 0.05, []
    for seed in range(24):
        field = field_of(draw(1200, shadows=shadows, seed=seed, fraction=fraction), seed)
        scores = run(field, attack, stand_ins(field, 4))
        known = np.concatenate([s[~t] for s, t in zip(scores.stand_ins, scores.truths, strict=True)])
        truth = field.membership(0)
        seen.append((scores.matched[~truth] > threshold_at_fpr(known, asked)).mean())
    error = np.std(seen, ddof=1) / np.sqrt(len(seen))
    assert abs(np.mean(seen) - asked) < max(3.5 * error, 0.004)


def test_posteriors_learnt_on_shadow_models_are_right_about_the_target():
    claimed, truths = [], []
    for seed in range(12):
        field = field_of(draw(1500, shadows=6, seed=seed), seed)
        scores = run(field, ATTACKS.create("lira"), stand_ins(field, 3))
        inside = np.concatenate([s[t] for s, t in zip(scores.stand_ins, scores.truths, strict=True)])
        outside = np.concatenate([s[~t] for s, t in zip(scores.stand_ins, scores.truths, strict=True)])
        claimed.append(calibrate(inside, outside)(scores.matched).value)
        truths.append(field.membership(0))
    for mean, share, count in reliability(np.concatenate(claimed), np.concatenate(truths)):
        if count > 300:
            assert share == pytest.approx(mean, abs=0.05)


@pytest.mark.parametrize("name", ATTACKED)
def test_nothing_learnt_on_shadow_models_depends_on_the_target_s_members(name):
    split = draw(400, shadows=8, seed=0)
    field = field_of(split, 0)
    masks = split.masks.copy()
    masks[0] = np.random.default_rng(1).permutation(masks[0])
    other = Split(masks, split.blocks, split.audited, split.population, split.seed, split.design)
    swapped = Field(records=field.records, split=other, table=field.table, access=field.access, seed=field.seed)
    first, second = (run(f, ATTACKS.create(name), stand_ins(f, 3)) for f in (field, swapped))
    np.testing.assert_array_equal(first.target, second.target)
    np.testing.assert_array_equal(first.matched, second.matched)
    for one, two in zip(first.stand_ins, second.stand_ins, strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two, model in zip(first.truths, second.truths, first.models, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, split.masks[model])


@pytest.mark.parametrize("name", ATTACKED)
def test_stand_ins_of_models_that_memorise_nothing_score_like_chance(name):
    areas = []
    for seed in range(10):
        field = field_of(draw(800, shadows=4, seed=seed), seed, shift=0.0)
        scores = run(field, ATTACKS.create(name), stand_ins(field, 2))
        areas += [area(roc(s[t], s[~t])) for s, t in zip(scores.stand_ins, scores.truths, strict=True)]
    assert abs(np.mean(areas) - 0.5) < 3 / np.sqrt(12 * 400 * 400 / 801) / np.sqrt(len(areas))


def test_only_whole_blocks_stand_in():
    split = draw(300, shadows=5, seed=0)
    models = stand_ins(field_of(split, 0), 5)
    assert list(split.blocks[models]) == [0, 1]


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    pytest.importorskip("sklearn")
    from sklearn.tree import DecisionTreeClassifier

    from vestige.backends.sklearn import SklearnRecipe
    from vestige.datasets import load_dataset

    config = AuditConfig.model_validate(
        {
            "data": {"population": 0.1},
            "shadow": {"count": 12},
            "audit": {"attacks": ["loss", "lira", "gap"], "targets": 4, "fpr": [0.05], "records_in_log": 50},
        }
    )
    records = load_dataset("digits")
    audit = Audit(
        inputs=Inputs(records=records, recipe=SklearnRecipe(DecisionTreeClassifier(max_depth=8))),
        config=config,
        store=Store(tmp_path_factory.mktemp("several")),
    )
    return audit, audit.run()


def test_every_target_is_judged_by_its_own_truth(several):
    audit, log = several
    split = audit.split()
    pool = gather_pool(audit, split, audit.inputs.recipe, audit.demand(split), None, _silent())
    field = Field(records=audit.inputs.records, split=split, table=pool.signals, access=Access.SCORE, seed=0)
    result, attack = log.attack("lira"), ATTACKS.create("lira")
    assert len(result.targets) == 4
    for one in result.targets:
        truth = split.masks[one.target, split.audited]
        scores = attack.score(field.evidence(one.target, attack))
        assert one.auc == pytest.approx(area(roc(scores[truth], scores[~truth])), abs=1e-12)
    assert result.auc.value == pytest.approx(np.mean([one.auc for one in result.targets]), abs=1e-12)


def _silent():
    from vestige.progress import Silence

    return Silence()


def test_the_table_has_each_record_s_own_score_and_truth(several):
    audit, log = several
    split = audit.split()
    pool = gather_pool(audit, split, audit.inputs.recipe, audit.demand(split), None, _silent())
    place = {str(audit.inputs.records.ids[row]): i for i, row in enumerate(split.audited)}
    loss = np.asarray(pool.signals.model("loss", 0))[:, 0]
    truth = split.masks[0, split.audited]
    assert len(log.record_table) == len(split.audited)
    for row in log.record_table:
        assert row.member == truth[place[row.id]]
        assert row.scores["loss"] == pytest.approx(-loss[place[row.id]])
    for record in log.risk.records:
        assert record.member
        assert truth[place[record.id]]


def test_risk_is_of_those_whose_posterior_is_high(several):
    _, log = several
    posterior = np.array([row.posterior for row in log.record_table if row.member])
    assert log.risk.at_risk == int((posterior >= log.risk.threshold).sum())
    shares = np.histogram(np.minimum(posterior, 1 - 1e-12), bins=10, range=(0, 1))[0] / len(posterior)
    np.testing.assert_allclose(log.risk.posterior_histogram, shares, atol=1e-9)


def test_exposure_is_high_for_records_that_models_memorise():
    from vestige.auditing.exposure import exposures

    split = draw(600, shadows=32, seed=0)
    field = field_of(split, 0)
    odds = np.array(field.table.columns["log_odds"])
    odds[:, :60, 0] += 3.0 * split.masks[:, :60]
    table = SignalTable({"log_odds": odds}, 600, 33)
    exposed = exposures(Field(records=field.records, split=split, table=table, access=Access.SCORE, seed=0))
    assert exposed[:60].min() > np.median(exposed[60:])
    assert np.median(exposed[60:]) > 0.6


def test_other_models_never_speak_for_a_given_target(tmp_path):
    sklearn = pytest.importorskip("sklearn.tree")
    from vestige.backends.coerce import as_target
    from vestige.backends.sklearn import SklearnRecipe
    from vestige.datasets import load_dataset

    records = load_dataset("digits")
    members = np.arange(len(records)) % 2 == 0
    tree = sklearn.DecisionTreeClassifier().fit(records.x[members], records.y[members])
    target = as_target(tree, task="classification", classes=records.classes)
    config = AuditConfig.model_validate({"shadow": {"count": 8}, "audit": {"targets": 3}})
    inputs = Inputs(records=records, recipe=SklearnRecipe(tree), target=target, members=members)
    with pytest.raises(UsageError, match="targets above 1 needs a target that is trained here"):
        Audit(inputs=inputs, config=config, store=Store(tmp_path))


def _judged_again(several, name):
    audit, _ = several
    split = audit.split()
    pool = gather_pool(audit, split, audit.inputs.recipe, audit.demand(split), None, _silent())
    field = Field(records=audit.inputs.records, split=split, table=pool.signals, access=Access.SCORE, seed=0)
    scores = run(field, ATTACKS.create(name), stand_ins(field, 4), reported=3)
    pairs = list(zip(scores.stand_ins, scores.truths, strict=True))
    return scores.matched, field.membership(0), [s[t] for s, t in pairs], [s[~t] for s, t in pairs]


def test_the_operating_point_is_set_on_stand_ins_alone(several):
    matched, truth, _, outside = _judged_again(several, "lira")
    threshold = threshold_at_fpr(np.concatenate(outside), 0.05)
    point = several[1].attack("lira").operating_points[0]
    assert point.fpr.value == pytest.approx((matched[~truth] > threshold).mean(), abs=1e-12)
    assert point.tpr.value == pytest.approx((matched[truth] > threshold).mean(), abs=1e-12)


def test_posteriors_are_learnt_on_stand_ins_alone(several):
    _, log = several
    matched, _, inside, outside = _judged_again(several, log.risk.attack)
    expected = calibrate(np.concatenate(inside), np.concatenate(outside))(matched).value
    np.testing.assert_allclose([row.posterior for row in log.record_table], expected, atol=1e-12)

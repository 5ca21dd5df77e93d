"""What the adversary knows from elsewhere: through the one call, through a config, and where it must not go."""

from __future__ import annotations

import json

import numpy as np
import pytest

import vestige
from vestige.attacks.assemble import Field
from vestige.attacks.ensemble import Ensemble
from vestige.attacks.priors import imagined_prior
from vestige.auditing.inputs import load_records
from vestige.config.target import DataConfig
from vestige.errors import ConfigError, DataError, UsageError
from vestige.records import Records
from vestige.signals import SignalTable
from vestige.split import draw
from vestige.target import Access
from vestige.testing.conformance import auc

PARTS = {"of": ["loss", "attack_r"], "rule": "probit"}
PLAIN = {"name": "ensemble", "params": PARTS}
TOLD = {"name": "ensemble", "params": {**PARTS, "prior": True}}


def telling(members, seed):
    """Return calibrated priors: each value p is p / (1 − p) times as frequent among members."""
    levels = np.linspace(0.1, 0.9, 9)
    return imagined_prior(levels, members, np.random.default_rng(seed))


def test_an_imagined_prior_means_what_it_says():
    members = np.arange(40_000) % 2 == 0
    found = telling(members, 0)
    for level in np.unique(found):
        share = members[found == level].mean()
        assert share == pytest.approx(level, abs=4 * np.sqrt(0.25 / (found == level).sum()))


@pytest.fixture(scope="module")
def people():
    draws = np.random.default_rng(0)
    x = draws.standard_normal((400, 30)).astype(np.float32)
    y = (x[:, 0] + 2 * draws.standard_normal(400) > 0).astype(int)
    return x, y


@pytest.fixture(scope="module")
def logs(people, tmp_path_factory):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = people
    model = linear_model.LogisticRegression(C=10.0).fit(x[:200], y[:200])
    prior = telling(np.arange(400) < 200, 1)
    split = (x[:200], y[:200], x[200:], y[200:])
    options = {"shadow": 16, "fpr": (0.1,), "progress": False, "store": tmp_path_factory.mktemp("store")}
    log = vestige.audit(model, *split, attacks=["loss", PLAIN, TOLD], prior=prior, **options)
    return log, prior


def test_a_prior_adds_to_what_the_model_shows_and_the_log_says_so(logs):
    log, prior = logs
    assert log.status == "complete"
    plain, told = log.attacks[1], log.attacks[2]
    assert told.params["prior"] is True
    alone = auc(prior, np.arange(400) < 200)
    assert told.auc.value > plain.auc.value + 0.03
    assert told.auc.value > alone
    (check,) = [check for check in log.checks if check.id == "prior-used"]
    assert check.level == "info"
    # Some non-members are held out from every model, so it is not quite the same records.
    assert float(check.message.rstrip(".").split()[-1]) == pytest.approx(alone, abs=0.05)
    # Thresholds come from shadow models that were given as telling a prior of their own.
    assert told.operational.fpr.low <= 0.1 <= told.operational.fpr.high


def test_a_prior_says_nothing_of_shadow_models():
    split = draw(400, shadows=4, seed=0)
    table = SignalTable({"loss": np.zeros((5, 400, 1), np.float32)}, 400, 5)
    members = split.masks[0]
    prior = np.where(members, 0.9, 0.1)
    records = Records.build(np.zeros((400, 1)), np.arange(400) % 2, prior=prior)
    field = Field(records=records, split=split, table=table, access=Access.SCORE, seed=0)
    attack = Ensemble(of=("loss",), rule="probit", prior=True)
    assert np.array_equal(field.evidence(0, attack).prior, prior)
    assert field.evidence(0, Ensemble(of=("loss",), rule="probit")).prior is None
    own = field.evidence(1, attack).prior
    assert auc(own, split.masks[1]) > 0.8
    assert abs(auc(own, members) - 0.5) < 0.15


def test_a_column_of_a_file_is_a_prior_and_no_feature(tmp_path):
    lines = ["a,b,label,seen", *(f"{i},{i % 3},{i % 2},{0.2 + 0.01 * i:.2f}" for i in range(20))]
    path = tmp_path / "people.csv"
    path.write_text("\n".join(lines))
    records, _ = load_records(DataConfig(source=str(path), prior="seen"), seed=0)
    assert records.x.shape == (20, 2)
    assert records.prior == pytest.approx(0.2 + 0.01 * np.arange(20))
    assert records.take(np.array([3, 1])).prior == pytest.approx([0.23, 0.21])
    same, _ = load_records(DataConfig(source=str(path), prior="seen", limit=5), seed=0)
    assert len(same.prior) == 5
    np.savez(tmp_path / "people.npz", x=np.zeros((4, 1)), y=[0, 1, 0, 1], known=[0.5, 0.2, 0.1, 0.9])
    records, _ = load_records(DataConfig(source=str(tmp_path / "people.npz"), prior="known"), seed=0)
    assert records.prior == pytest.approx([0.5, 0.2, 0.1, 0.9])


def test_the_whole_way_from_a_config(people, tmp_path):
    linear_model = pytest.importorskip("sklearn.linear_model")
    import joblib

    from vestige.auditing.run import Audit
    from vestige.config_files import load_config

    x, y = people
    inside = np.arange(400) < 200
    np.savez(tmp_path / "people.npz", x=x, y=y, member=inside.astype(int), seen=telling(inside, 2))
    joblib.dump(linear_model.LogisticRegression(C=10.0).fit(x[:200], y[:200]), tmp_path / "model.joblib")
    options = {
        "store": str(tmp_path / "store"),
        "data": {"source": str(tmp_path / "people.npz"), "prior": "seen"},
        "target": {"kind": "sklearn", "model": str(tmp_path / "model.joblib"), "members": "member", "trust": True},
        "recipe": {"kind": "sklearn", "model": "sklearn.linear_model:LogisticRegression", "params": {"C": 10.0}},
        "shadow": {"count": 12},
        "audit": {"attacks": [TOLD], "fpr": [0.1]},
    }
    log = Audit.from_config(load_config(options, environ={})).run()
    assert log.status == "complete"
    assert log.attacks[0].auc.value > 0.75
    assert json.loads(log.to_json())["config"]["data"]["prior"] == "seen"


def test_a_prior_that_cannot_be_one_is_refused_in_a_sentence(people, tmp_path):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = people
    model = linear_model.LogisticRegression().fit(x[:200], y[:200])
    split = (x[:200], y[:200], x[200:], y[200:])
    quiet = {"progress": False, "store": tmp_path, "shadow": 6}
    for wrong, says in (
        (np.repeat([1.0, 0.0], 200), "strictly between 0 and 1, got 1 in row 0"),
        (np.full(3, 0.5), "one prior probability per record"),
        (["likely"] * 400, "prior probabilities of membership"),
    ):
        with pytest.raises(DataError, match=says):
            vestige.audit(model, *split, attacks=[TOLD], prior=wrong, **quiet)
    with pytest.raises(UsageError, match="no attack adds it"):
        vestige.audit(model, *split, attacks=["loss"], prior=np.full(400, 0.5), **quiet)
    log = vestige.audit(model, *split, attacks=[TOLD], fpr=(0.1,), **quiet)
    assert "nothing says what that is" in log.attacks[0].reason
    with pytest.raises(ConfigError, match="known dataset"):
        load_records(DataConfig(source="digits", prior="seen"), seed=0)
    path = tmp_path / "few.csv"
    path.write_text("a,label,p\n1,0,0.5\n2,1,0.5\n3,0,0.5\n")
    with pytest.raises(DataError, match="sean"):
        load_records(DataConfig(source=str(path), prior="sean"), seed=0)
    from vestige.auditing.inputs import Inputs

    with pytest.raises(UsageError, match="trained on a random half"):
        Inputs(records=Records.build(x, y, prior=np.full(400, 0.5)), recipe=None)

"""A claimed ε against what one training of the audited recipe shows."""

import numpy as np
import pytest

import vestige
from vestige.auditing.claims import bounds, chosen
from vestige.auditing.inputs import Inputs
from vestige.auditing.run import Audit
from vestige.backends.coerce import as_target
from vestige.backends.sklearn import SklearnRecipe
from vestige.config_files import load_config
from vestige.errors import ConfigError, UsageError
from vestige.metrics.epsilon.base import Coins
from vestige.privacy_claim import PrivacyClaim
from vestige.records import Records
from vestige.split import draw
from vestige.store import Store

pytest.importorskip("sklearn")
from sklearn.dummy import DummyClassifier
from sklearn.tree import DecisionTreeClassifier


def records(n=600, groups=None):
    random = np.random.default_rng(0)
    return Records.build(
        random.normal(size=(n, 4)).astype(np.float32), random.integers(0, 20, n), groups=groups, name="noise"
    )


def audited(tmp_path, claim, estimator=None, *, groups=None, attacks=("loss",), **options):
    recipe = SklearnRecipe(estimator if estimator is not None else DecisionTreeClassifier(random_state=0))
    config = load_config(
        {
            "claim": claim,
            "audit": {"attacks": list(attacks), "fpr": [0.1]},
            "shadow": {"count": 0},
            "data": {"population": 0.0},
            **options,
        },
        environ={},
    )
    inputs = Inputs(records=records(groups=groups), recipe=recipe)
    return Audit(inputs=inputs, config=config, store=Store.default(tmp_path)).run()


def check(log, name):
    return next((each for each in log.checks if each.id == name), None)


def test_a_model_that_memorises_refutes_a_small_claim(tmp_path):
    log = audited(tmp_path, {"epsilon": 1.0, "delta": 1e-5})
    quoted = log.epsilon[0]
    assert quoted.primary
    assert quoted.attack == "loss"
    assert quoted.value > 2
    assert quoted.delta == 1e-5
    assert [one.primary for one in log.epsilon[1:]] == [False] * (len(log.epsilon) - 1)
    assert sum(1 - one.confidence for one in log.epsilon if one.judged) == pytest.approx(0.05)
    assert log.claim.epsilon == 1.0
    assert check(log, "epsilon-claim").level == "error"
    assert log.exit_code == 4
    assert "shows at least" in check(log, "epsilon-claim").message


def test_a_model_that_learns_nothing_refutes_nothing(tmp_path):
    log = audited(tmp_path, {"epsilon": 0.5}, DummyClassifier(strategy="prior"))
    assert all(one.value < 0.5 for one in log.epsilon if one.judged)
    assert check(log, "epsilon-claim") is None
    assert check(log, "claim-untested") is None
    assert check(log, "cannot-refute") is None


def test_a_claim_beyond_reach_is_said_to_be_so(tmp_path):
    log = audited(tmp_path, {"epsilon": 30.0})
    assert check(log, "epsilon-claim") is None
    assert check(log, "cannot-refute").level == "info"
    assert "says nothing" in check(log, "cannot-refute").message


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ({"epsilon": 1.0, "adjacency": "replace_one"}, "adding or removing"),
        ({"epsilon": 1.0, "guarantee": "G4"}, "class G4"),
    ],
)
def test_what_a_bound_cannot_refute_is_not_tested(tmp_path, claim, reason):
    log = audited(tmp_path, claim)
    assert log.epsilon == []
    assert check(log, "claim-untested").level == "warning"
    assert reason in check(log, "claim-untested").message


def test_groups_are_units_of_their_own(tmp_path):
    groups = np.arange(600) // 3
    log = audited(tmp_path, {"epsilon": 1.0}, groups=groups)
    assert log.epsilon == []
    assert "one group" in check(log, "claim-untested").message
    log = audited(tmp_path, {"epsilon": 1.0, "unit": "person"}, groups=groups)
    assert log.epsilon[0].value > 1
    single = audited(tmp_path, {"epsilon": 1.0})
    assert log.epsilon[0].ceiling < single.epsilon[0].ceiling  # 200 coins, not 600


def test_a_given_model_s_members_are_not_coins(tmp_path):
    part = records()
    half = len(part) // 2
    model = DecisionTreeClassifier(random_state=0).fit(part.x[:half], part.y[:half])
    sides = part.x[:half], part.y[:half], part.x[half:], part.y[half:]
    log = vestige.audit(model, *sides, attacks=["loss"], shadow=0, fpr=(0.1,), store=tmp_path, progress=False)
    assert log.epsilon == []
    assert log.claim is None
    assert check(log, "claim-untested") is None
    members = np.arange(len(part)) < half
    asked = {"claim": {"epsilon": 1.0}, "audit": {"attacks": ["loss"]}, "shadow": {"count": 0}}
    config = load_config(asked, environ={})
    target = as_target(model, task=part.task, classes=part.classes)
    inputs = Inputs(records=part, recipe=None, target=target, members=members)
    log = Audit(inputs=inputs, config=config, store=Store.default(tmp_path)).run()
    assert log.epsilon == []
    assert "given with its members" in check(log, "claim-untested").message
    assert log.status == "complete"


def test_an_attack_that_cannot_run_leaves_the_claim_untested(tmp_path):
    claim = {"epsilon": 1.0, "attack": "lira"}
    log = audited(tmp_path, claim, attacks=("loss", "lira"))
    assert log.attack("lira").status == "skipped"
    assert log.epsilon == []
    assert check(log, "claim-untested").message.startswith("The claim of ε = 1 was not tested: lira")


def test_the_attack_is_settled_by_its_name():
    assert chosen(["gap", "loss", "lira", "rmia"], None) == "rmia"
    assert chosen(["loss", "lira[pooled]", "lira"], None) == "lira[pooled]"
    assert chosen(["gap", "entropy"], None) == "gap"
    assert chosen(["gap", "loss"], "gap") == "gap"
    with pytest.raises(UsageError, match="this audit runs gap, loss"):
        chosen(["gap", "loss"], "lira")


def test_a_claim_that_makes_no_sense_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(UsageError, match=r"Did you mean|Add it to"):
        audited(tmp_path, {"epsilon": 1.0, "attack": "los"})
    with pytest.raises(ConfigError):
        audited(tmp_path, {"epsilon": -1.0})


def test_coins_are_independent_and_leave_the_shadow_models_alone():
    counts, both = [], []
    for seed in range(400):
        split = draw(40, shadows=4, seed=seed, coins=True)
        assert split.coin == 0.5
        counts.append(split.masks[0].sum())
        both.append(split.masks[0, :2].all())
        np.testing.assert_array_equal(split.masks[1:], draw(40, shadows=4, seed=seed).masks[1:])
    # an exact half would have no variance, and would take two given records together in 24.4 % of draws
    assert np.var(counts) == pytest.approx(10, rel=0.3)
    assert np.mean(both) == pytest.approx(0.25, abs=0.07)
    assert draw(40, shadows=0, seed=0).coin is None
    assert draw(40, shadows=0, seed=0, members=np.arange(40) < 20, coins=True).coin is None


LAWS = {
    "null": (0.0, lambda g, k: g.normal(size=len(k))),
    "laplace": (1.0, lambda g, k: k + g.laplace(size=len(k))),
    "response": (1.0, lambda g, k: (k ^ (g.random(len(k)) > np.e / (1 + np.e))).astype(float)),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_bounds_that_count_hold_together(law):
    """All judged bounds of one audit at once; over 300 audits a rate of 5 % has a standard deviation of 1.3 points."""
    truth, mechanism = LAWS[law]
    broken = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        included = random.random(300) < 0.5
        coins = Coins(scores=mechanism(random, included), included=included)
        found = bounds(coins, PrivacyClaim(epsilon=truth), "loss", 0.95)
        broken += any(one.refutes(truth) for one in found)
    assert broken / 300 <= 0.05 + 2 * 0.0126


def test_a_gaussian_bound_counts_only_for_a_claim_that_says_so():
    random = np.random.default_rng(0)
    included = random.random(1000) < 0.5
    coins = Coins(scores=included + random.normal(size=1000), included=included)

    def judged(mechanism):
        claim = PrivacyClaim(epsilon=4, delta=1e-5, mechanism=mechanism)
        return {one.method: one.judged for one in bounds(coins, claim, "loss", 0.95)}

    assert judged("other") == {"one_run": True, "one_run_fdp": True, "clopper_pearson": False}
    assert judged("gaussian")["one_run_gdp"]
    assert not judged("subsampled_gaussian")["one_run_gdp"]
    found = bounds(coins, PrivacyClaim(epsilon=4, delta=1e-5, mechanism="gaussian"), "loss", 0.95)
    assert found[0].method == "one_run_gdp"
    assert found[0].primary
    assert {one.kind for one in found if not one.judged} == {"estimate"}
    assert all("couples" in one.reason for one in found if not one.judged)

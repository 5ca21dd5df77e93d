from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vestige
from canary import learners
from canary.learners import RR1, constant, diverged, memoriser, oblivious, population, shuffling_memoriser, speechless
from vestige.backends.function import FunctionRecipe
from vestige.canary import CanaryAudit, Design, audit, plan
from vestige.canary.bounds import bounds
from vestige.canary.coins import flip
from vestige.canary.making import make
from vestige.canary.training import Labour
from vestige.errors import AccessError, DataError, ModelError, UsageError
from vestige.log import AuditLog
from vestige.privacy_claim import PrivacyClaim
from vestige.records import Records
from vestige.store import Store

RECORDS = population(400)
ONE = PrivacyClaim(epsilon=1.0, delta=1e-5)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def quoted(log):
    return next(one for one in log.epsilon if one.primary)


def near_its_ceiling(bound):
    """Coins that did not fall evenly cost a few guesses, and so a little of the ceiling."""
    return 0.85 * bound.ceiling < bound.value <= bound.ceiling + 1e-9


def test_a_total_leak_shows_as_the_ceiling_and_fails_the_claim(store):
    log = audit(memoriser, RECORDS, count=200, claim=ONE, store=store)
    best = quoted(log)
    assert near_its_ceiling(best)
    assert best.value > 3.5
    assert log.exit_code == 1
    assert [finding.passed for finding in log.findings] == [False, False]
    assert log.canary.power.could_fail
    assert log.attacks[0].auc.value == 1.0


def test_canaries_that_nobody_trains_on_show_nothing(store):
    log = audit(oblivious, RECORDS, count=200, claim=ONE, store=store)
    assert [one.value for one in log.epsilon] == [0.0, 0.0]
    assert log.exit_code == 0


def test_scores_follow_the_records_through_a_shuffle(store):
    plainly = audit(memoriser, RECORDS, count=100, store=store)
    shuffled = audit(shuffling_memoriser, RECORDS, count=100, store=store)
    assert [one.value for one in shuffled.epsilon] == [one.value for one in plainly.epsilon]


def test_scores_by_id_may_come_in_any_order(store):
    def by_id(target, canaries):
        sure = target.query(canaries.x, vestige.Access.SCORE).values.max(axis=1)
        pairs = list(zip(canaries.ids.tolist(), sure.tolist(), strict=True))
        np.random.default_rng(0).shuffle(pairs)
        return dict(pairs)

    log = audit(memoriser, RECORDS, count=100, score=by_id, store=store)
    assert near_its_ceiling(quoted(log))
    assert log.canary.score == "by_id"


@pytest.mark.parametrize("kind", ["natural", "mislabelled", "out_of_distribution", "duplicated", "blank"])
def test_every_kind_of_canary_finds_a_memoriser(kind, store):
    log = audit(memoriser, RECORDS, canaries=kind, count=150, score="max_log_probability", store=store)
    assert near_its_ceiling(quoted(log))
    assert quoted(log).value > 0.5


def test_copies_divide_the_bound_and_say_so(store):
    one = audit(memoriser, RECORDS, count=150, delta=0.0, store=store)
    four = audit(memoriser, RECORDS, canaries="duplicated", copies=4, count=150, delta=0.0, store=store)
    assert quoted(four).value == pytest.approx(quoted(one).value / 4)
    assert four.canary.unit == "a group of 4 copies of one record"
    assert any("group of 4" in note for note in four.canary.notes)


def test_a_claim_for_exchanged_records_is_tested_by_exchange(store):
    claim = PrivacyClaim(epsilon=1.0, delta=1e-5, adjacency="replace_one")
    log = audit(memoriser, RECORDS, count=150, claim=claim, store=store)
    assert log.canary.adjacency == "replace_one"
    assert log.canary.always == 100
    assert near_its_ceiling(quoted(log))
    assert any("exchanged" in note for note in log.canary.notes)


def test_many_runs_with_one_canary_are_independent_trials(store):
    log = audit(memoriser, RECORDS, count=1, runs=60, store=store)
    assert [one.method for one in log.epsilon] == ["joint_region", "clopper_pearson"]
    assert quoted(log).value > 1.5
    assert log.canary.included + log.canary.left_out == 60
    assert [one.judged for one in log.epsilon] == [True, False]


def test_runs_pool_their_coins(store):
    log = audit(RR1, RECORDS, count=100, runs=4, store=store)
    assert log.population.members + log.population.nonmembers == 400
    assert log.shadow.trained == 4


def test_bounds_hold_in_repeated_audits_of_randomised_response(store):
    """ε is exactly 1: no more than 5 % of the audits may show more, by any of the bounds that count."""
    repeats, above, shown = 200, 0, []
    for seed in range(repeats):
        design = Design(count=100, claim=PrivacyClaim(epsilon=1.0), seed=seed)
        made = CanaryAudit(
            recipe=FunctionRecipe(RR1), records=RECORDS, design=design, labour=Labour(store=Store(store))
        )
        found = bounds(made.guessed()[1], design)
        assert all(one.counts for one in found)
        above += any(one.bound.refutes(1.0) for one in found)
        shown.append(found[0].bound.value)
    assert above / repeats <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / repeats)
    assert np.median(shown) > 0.1


def test_references_help_and_cost_no_validity(store):
    few = audit(RR1, RECORDS, count=100, references=4, store=store)
    assert few.shadow.count == 4
    assert few.shadow.trained == 5
    known = audit(memoriser, RECORDS, count=100, references=4, score="log_odds", store=store)
    assert near_its_ceiling(quoted(known))


def test_estimators_and_pairs_are_taken_as_they_are(store):
    sklearn = pytest.importorskip("sklearn.neighbors")
    x, y = RECORDS.x, np.random.default_rng(0).integers(0, 2, len(RECORDS))
    log = audit(sklearn.KNeighborsClassifier(1), (x, y), count=150, store=store)
    assert log.target.kind == "sklearn"
    assert quoted(log).value > 0.3


def test_xgboost_is_caught(store):
    xgboost = pytest.importorskip("xgboost")
    y = np.random.default_rng(0).integers(0, 2, len(RECORDS))
    learner = xgboost.XGBClassifier(n_estimators=30, max_depth=8, learning_rate=0.5, n_jobs=1)
    log = audit(learner, (RECORDS.x, y), count=200, claim=PrivacyClaim(epsilon=0.5), store=store)
    assert log.exit_code == 1


def test_a_regression_is_scored_by_its_error(store):
    sklearn = pytest.importorskip("sklearn.tree")
    y = np.random.default_rng(0).standard_normal(len(RECORDS))
    log = audit(sklearn.DecisionTreeRegressor(), (RECORDS.x, y), count=200, store=store)
    assert near_its_ceiling(quoted(log))


def test_labels_alone_are_scored_by_what_is_right(store):
    sklearn = pytest.importorskip("sklearn.neighbors")
    y = np.random.default_rng(0).integers(0, 2, len(RECORDS))
    log = audit(sklearn.KNeighborsClassifier(1), (RECORDS.x, y), count=150, score="correct", store=store)
    assert log.canary.access == "label"
    assert quoted(log).value > 0.3


def test_a_rerun_costs_nothing_and_says_the_same(store):
    first = audit(memoriser, RECORDS, count=100, runs=2, store=store)
    again = audit(memoriser, RECORDS, count=100, runs=2, store=store)
    assert (first.shadow.trained, again.shadow.trained, again.shadow.reused) == (2, 0, 2)
    assert again.epsilon == first.epsilon
    more = audit(memoriser, RECORDS, count=100, runs=3, store=store)
    assert (more.shadow.trained, more.shadow.reused) == (1, 2)


def test_a_plan_trains_nothing_and_knows_what_the_store_has(store):
    ahead = plan(memoriser, RECORDS, count=100, runs=2, store=store)
    assert (ahead.models, ahead.reused, ahead.trainings) == (2, 0, 2)
    audit(memoriser, RECORDS, count=100, runs=2, store=store)
    assert plan(memoriser, RECORDS, count=100, runs=2, store=store).trainings == 0


@pytest.mark.parametrize("workers", [0, -2])
def test_at_least_one_worker_is_needed_before_anything_is_trained(store, workers):
    def never(x, y, seed):
        raise AssertionError("trained")

    with pytest.raises(UsageError, match="at least one worker"):
        audit(never, RECORDS, count=100, store=store, workers=workers)


def test_an_interrupt_leaves_a_log_that_says_so(store):
    asked = []

    def interrupted(x, y, seed):
        if asked:
            raise KeyboardInterrupt
        asked.append(seed)
        return memoriser(x, y, seed)

    log = audit(interrupted, RECORDS, count=100, runs=3, store=store)
    assert log.status == "interrupted"
    assert log.exit_code == 130
    assert log.epsilon == []


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    script = tmp_path / "slowly.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path.insert(0, {str(Path(learners.__file__).parents[1])!r})\n"
        "from canary.learners import memoriser, population\n"
        "from vestige.canary import audit\n"
        "def slowly(x, y, seed):\n"
        "    time.sleep(0.3)\n"
        "    return memoriser(x, y, seed)\n"
        "if __name__ == '__main__':\n"
        "    log = audit(slowly, population(100), count=50, runs=8, store=sys.argv[1])\n"
        "    print(log.shadow.trained, log.shadow.reused, log.epsilon[0].value)\n"
    )
    store = tmp_path / "store"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen([sys.executable, script, store], env=environment)
    kept = store
    for _ in range(600):
        signals = [path for path in kept.rglob("*") if path.is_file() and "signals" in path.parts]
        if len(signals) >= 3:
            break
        try:
            first.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.run(
        [sys.executable, script, store], env=environment, capture_output=True, text=True, check=True
    )
    trained, reused, _ = second.stdout.split()
    assert int(trained) + int(reused) == 8
    assert int(reused) >= 2


@pytest.mark.parametrize(
    ("learner", "error", "words"),
    [
        (diverged, ModelError, "NaN"),
        (speechless, ModelError, "got int"),
        (lambda x, y, seed: None, ModelError, "got None"),
        (lambda x, y, seed: 1 / 0, ModelError, "division by zero"),
        (lambda x, y, seed: lambda asked: np.zeros((len(asked), 7)), ModelError, "got an array of shape"),
        (lambda x, y, seed: lambda asked: asked[:1, 0] > 0, ModelError, "answers for"),
        (lambda x, y, seed: lambda asked: np.zeros(len(asked), int), AccessError, "answers labels"),
    ],
)
def test_learners_that_return_nonsense_end_in_a_sentence(learner, error, words, store):
    with pytest.raises(error) as caught:
        audit(learner, RECORDS, count=100, store=store)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (lambda target, canaries: np.full(len(canaries), np.nan), "finite, got 100 NaN or infinite of 100"),
        (lambda target, canaries: np.zeros(3), "to return 100 numbers, one per canary, got shape"),
        (lambda target, canaries: {"record 1": 0.0}, "got none for"),
        (lambda target, canaries: dict.fromkeys(canaries.ids.tolist(), "high"), "to be a number"),
        (lambda target, canaries: 1 / 0, "failed: ZeroDivisionError"),
    ],
)
def test_scores_that_are_none_end_in_a_sentence(score, words, store):
    with pytest.raises((DataError, ModelError)) as caught:
        audit(memoriser, RECORDS, count=100, score=score, store=store)
    assert words in str(caught.value)


def test_constant_scores_are_not_believed(store):
    log = audit(constant, RECORDS, count=100, claim=ONE, store=store)
    assert log.exit_code == 4
    assert [check.id for check in log.checks] == ["canaries-alike"]
    assert quoted(log).value == 0.0


def test_an_audit_that_could_not_have_failed_warns(store):
    log = audit(memoriser, RECORDS, count=100, claim=PrivacyClaim(epsilon=8.0, delta=1e-5), store=store)
    assert [(check.id, check.level) for check in log.checks] == [("canaries-could-not-fail", "warning")]
    assert log.canary.power.could_fail is False
    assert log.exit_code == 0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"count": 401}, DataError, "at least 401 records"),
        ({"count": 3}, UsageError, "enough coin flips"),
        ({"count": 1}, UsageError, "enough coin flips"),
        ({"access": "label"}, UsageError, "needs score access, got label"),
        ({"access": "everything"}, AccessError, "label, score or white_box"),
        ({"score": "gradient"}, UsageError, "takes `steps`"),
        ({"canaries": "gradient"}, UsageError, "takes `steps`"),
        ({"methods": ["one_rum"]}, UsageError, "Did you mean 'one_run'"),
        ({"executor": "threads"}, UsageError, "executor"),
        ({"seed": "zero"}, UsageError, "the seed to be a whole number"),
        ({"claim": 4.0}, UsageError, "to be a PrivacyClaim, got a float"),
        ({"claim": ONE, "delta": 0.0}, UsageError, "at least the claimed one, 1e-05, got 0"),
        ({"claim": PrivacyClaim(epsilon=1.0, guarantee="G4")}, UsageError, "class G4 promises no"),
        (
            {"claim": PrivacyClaim(epsilon=1.0, guarantee="G2"), "score": "gradient"},
            UsageError,
            "see every step",
        ),
        ({"claim": ONE, "methods": ["gdp"]}, UsageError, "gdp is only shown"),
        ({"methods": ["gdp"]}, UsageError, "declared Gaussian"),
        ({"methods": ["clopper_pearson"]}, UsageError, "share each model"),
    ],
)
def test_impossible_audits_end_in_a_sentence_before_training(options, error, words, store):
    with pytest.raises(error) as caught:
        audit(memoriser, RECORDS, **{"count": 100, **options}, store=store)
    assert words in str(caught.value)


def test_whole_numbers_of_numpy_are_whole_numbers(store):
    log = audit(memoriser, RECORDS, count=np.int64(100), seed=np.int64(3), methods=None, store=store)
    assert AuditLog.model_validate_json(log.to_json()).canary.count == 100


@pytest.mark.parametrize("fields", [{"adjacency": "zero_out"}, {"mechanism": "gausian"}, {"guarantee": "G5"}])
def test_a_claim_of_no_known_kind_is_no_claim(fields):
    with pytest.raises(UsageError, match="to be one of"):
        PrivacyClaim(epsilon=1.0, **fields)


def test_things_that_do_not_train(store):
    for thing, words in ((type(RECORDS), "the class Records"), ("model.pkl", "got a str"), (3, "got a int")):
        with pytest.raises(UsageError, match=words):
            audit(thing, RECORDS, store=store)
    for data in ([1, 2], None, "digits"):
        with pytest.raises(UsageError, match="pair"):
            audit(memoriser, data, store=store)


def test_a_single_class_is_said_in_a_sentence(store):
    linear = pytest.importorskip("sklearn.linear_model")
    with pytest.raises(DataError, match="at least two classes, got one"):
        audit(linear.LogisticRegression(), (RECORDS.x, np.zeros(400, np.int64)), count=100, store=store)
    rare, asked = Records.build(RECORDS.x, np.arange(400) == 0), [Design(count=400, seed=seed) for seed in range(20)]
    without = next(one for one in asked if not make(rare, one).mask(flip(one).targets[0])[0])
    with pytest.raises(ModelError, match="training records are of class"):
        audit(linear.LogisticRegression(), rare, count=400, seed=without.seed, store=store)


def test_coins_in_worker_processes_fall_alike(store, tmp_path):
    inline = audit(memoriser, RECORDS, count=100, runs=2, store=store)
    apart = audit(memoriser, RECORDS, count=100, runs=2, store=tmp_path / "other", executor="processes")
    assert [one.value for one in apart.epsilon] == [one.value for one in inline.epsilon]


def test_the_log_comes_back_from_its_file(store, tmp_path):
    log = audit(memoriser, RECORDS, count=100, claim=PrivacyClaim(epsilon=2.0, ledger=({"event": "x"},)), store=store)
    assert AuditLog.load(log.save(tmp_path / "audit.json")) == log


def test_an_old_log_without_kinds_of_bounds_still_loads(store):
    log = audit(memoriser, RECORDS, count=100, store=store)
    old = log.model_dump(mode="json", exclude={"claim", "canary"})
    keys = ("method", "assumption", "delta", "value", "confidence")
    old["epsilon"] = [{key: one[key] for key in keys} for one in old["epsilon"]]
    again = AuditLog.model_validate(old)
    assert again.canary is None
    assert [one.kind for one in again.epsilon] == ["bound", "bound"]
    assert again.render("html")


def test_canaries_are_at_hand_after_importing_vestige():
    code = (
        "import sys, vestige\n"
        "assert 'numpy' not in sys.modules\n"
        "assert callable(vestige.canary.audit) and vestige.PrivacyClaim(epsilon=1.0)\n"
        "assert not {'torch', 'sklearn', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Less knowledge: guessed hyperparameters, predicted labels, shadow models that saw none of the audited records."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from vestige.auditing.beside import joined
from vestige.auditing.guesses import drawn, guessed_recipe
from vestige.auditing.inputs import Inputs
from vestige.auditing.run import Audit
from vestige.backends.sklearn import SklearnRecipe
from vestige.config import AuditConfig
from vestige.config.target import RecipeConfig
from vestige.config_files import load_config
from vestige.datasets import load_dataset
from vestige.errors import ConfigError, UsageError
from vestige.records import Records
from vestige.seeds import rng
from vestige.signals.predicted import ask_labels
from vestige.store import Store

TREE = {"kind": "sklearn", "model": "sklearn.tree:DecisionTreeClassifier", "params": {"max_depth": 8}}
EVERY = ["gap", "loss", "lira", "lira_offline", "rmia", "calibrated", "shokri"]


def audit(tmp_path, *, attacks=EVERY, recipe=TREE, shadow=None, limit=700, **section):
    config = {
        "data": {"source": "digits", "limit": limit},
        "recipe": recipe,
        "shadow": {"count": 6, **(shadow or {})},
        "audit": {"attacks": attacks, "fpr": [0.1], **section},
        "store": str(tmp_path),
    }
    return Audit.from_config(load_config(config, environ={}))


def figures(log):
    return {result.title: (result.auc, result.tpr, result.shadow_models) for result in log.attacks}


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """The plain audit's log and its table of records."""
    log = audit(tmp_path_factory.mktemp("baseline")).run()
    return log, log.records_csv()


@pytest.mark.parametrize(
    "shadow",
    [
        {"data": "same", "architecture": "same", "hyperparameters": "known"},
        {"data": "digits"},
        {"architecture": TREE},
        {"hyperparameters": {"params": {"max_depth": [8]}}},
        {"hyperparameters": {"params": {"max_depth": {"low": 8, "high": 8}}}},
    ],
    ids=["said", "same_source", "same_architecture", "right_guess", "narrow_range"],
)
def test_relaxed_to_the_same_settings_is_the_baseline_seed_for_seed(tmp_path, baseline, shadow):
    log = audit(tmp_path, shadow=shadow).run()
    assert figures(log) == figures(baseline[0])
    assert log.records_csv() == baseline[1]


def test_a_wrong_guess_changes_shadow_models_and_not_the_target(tmp_path, baseline):
    log = audit(tmp_path, shadow={"hyperparameters": {"params": {"max_depth": [2]}}}).run()
    assert log.shadow.guessed == {"params": {"max_depth": 2}}
    assert log.target.train_accuracy == baseline[0].target.train_accuracy
    assert log.attack("loss").auc == baseline[0].attack("loss").auc
    assert log.shadow.train_accuracy < baseline[0].shadow.train_accuracy
    assert log.attack("lira").auc != baseline[0].attack("lira").auc


def test_guesses_come_from_their_ranges_by_the_seed_and_by_their_own_name():
    told = {
        "lr": {"low": 0.01, "high": 1.0, "log": True},
        "epochs": {"low": 5, "high": 8},
        "optimizer": ["sgd", "adam"],
    }
    found = [drawn(told, seed) for seed in range(300)]
    assert found[7] == drawn(told, 7)
    assert {one["epochs"] for one in found} == {5, 6, 7, 8}
    assert {one["optimizer"] for one in found} == {"sgd", "adam"}
    rates = np.array([one["lr"] for one in found])
    assert (rates >= 0.01).all()
    assert (rates <= 1).all()
    assert abs((rates < 0.1).mean() - 0.5) < 0.1
    assert all(drawn({**told, "momentum": [0.1, 0.9]}, s)["lr"] == found[s]["lr"] for s in range(20))
    assert drawn({"batch_size": {"low": 16, "high": 64, "log": True}, "hidden": [[8], [9]]}, 0)["hidden"] in ([8], [9])


@pytest.mark.parametrize(
    ("guess", "match"),
    [
        ({"lr": []}, r"at least one guess at \[shadow\] hyperparameters.lr"),
        ({"lr": {"low": 2, "high": 1}}, r"hyperparameters\.lr to be a range"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, "low is at most high, and above 0 with log"),
        ({"params": {"depth": {"low": "a", "high": 1}}}, r"hyperparameters\.params\.depth to be a range"),
        ({"lr": {"low": 1, "high": 2, "step": 1}}, "to be a range"),
    ],
)
def test_a_range_that_is_none_is_one_sentence_before_anything_is_trained(tmp_path, guess, match):
    with pytest.raises(ConfigError, match=match):
        audit(tmp_path, shadow={"hyperparameters": guess})


def test_a_recipe_of_python_is_guessed_by_its_fields_alone():
    recipe = SklearnRecipe(DecisionTreeClassifier())
    found = guessed_recipe(recipe, RecipeConfig(), {"preprocess": "standard"})
    assert (found.preprocess, found.estimator) == ("standard", recipe.estimator)
    with pytest.raises(ConfigError, match="guesses 'max_depth', and a SklearnRecipe has no such key"):
        guessed_recipe(recipe, RecipeConfig(), {"max_depth": 3})


def test_unknown_words_are_config_errors():
    with pytest.raises(ConfigError, match=r"shadow\.hyperparameters"):
        load_config({"shadow": {"hyperparameters": "unknown"}}, environ={})
    with pytest.raises(ConfigError, match=r"audit\.labels"):
        load_config({"audit": {"labels": "guessed"}}, environ={})


def test_offline_attacks_compare_with_models_of_the_other_half(tmp_path):
    run = audit(tmp_path, attacks=["lira", "lira_offline", "calibrated", "shokri"], shadow={"data": "disjoint"})
    log = run.run()
    assert log.attack("lira").status == "skipped"
    for name in ("lira_offline", "calibrated", "shokri"):
        assert log.attack(name).status == "ok", log.attack(name).reason
    assert log.attack("calibrated").auc.value > 0.55
    assert log.attack("calibrated").shadow_models == 6


def test_disjoint_models_answer_for_records_that_none_of_them_saw(tmp_path):
    """What the audit computes from its joint pool is what one gets by training on the other half and asking by hand."""
    from vestige.attacks.calibrated import Calibrated
    from vestige.auditing.knowledge import elsewhere_count
    from vestige.seeds import seed_for
    from vestige.split import draw

    # Margins of a linear model hardly ever tie, so that rounding decides nothing.
    recipe = {"kind": "sklearn", "model": "sklearn.linear_model:RidgeClassifier"}
    run = audit(tmp_path, attacks=["calibrated"], shadow={"data": "disjoint"}, recipe=recipe)
    log = run.run()
    home, away = run.inputs.records, run.elsewhere
    assert not set(home.ids) & set(away.ids)
    both = joined(home, away)
    split = draw(len(away), shadows=elsewhere_count(6), seed=0)
    asked = run.split().audited
    truth = run.split().masks[0, asked]

    def losses(records, rows, seed):
        target = run.inputs.recipe.fit(records, rows, seed)
        from vestige.signals.measure import measure

        return measure(target, home, asked, [Calibrated().needs.signals[0]])[Calibrated().needs.signals[0]][:, 0]

    own = losses(home, run.split().rows(0), seed_for(0, "model", 0))
    theirs = [losses(both, split.rows(m) + len(home), seed_for(0, "model", m)) for m in range(1, 7)]
    score = own.astype(float) - np.mean(theirs, axis=0)
    inside, outside = score[truth], score[~truth]
    by_hand = np.mean((inside[:, None] > outside) + 0.5 * (inside[:, None] == outside))
    assert max(by_hand, 1 - by_hand) == pytest.approx(log.attack("calibrated").auc.value, abs=1e-4)


def test_records_of_another_shape_or_with_other_classes_are_not_joined():
    digits, wine = load_dataset("digits"), load_dataset("wine")
    assert joined(digits, wine) is None
    both = joined(digits, digits.take(np.arange(5)))
    assert len(both) == len(digits) + 5
    assert both.classes == digits.classes
    pd = pytest.importorskip("pandas")
    frames = [Records.build(pd.DataFrame({"a": [1.0, 2.0], name: [0.0, 1.0]}), [0, 1]) for name in ("b", "c")]
    assert joined(*frames) is None
    assert list(joined(frames[0], frames[0]).x.columns) == ["a", "b"]


def test_without_labels_each_model_is_measured_against_its_own_answer(tmp_path):
    run = audit(tmp_path, attacks=["loss", "confidence", "lira", "shokri", "gap"], labels="predicted")
    log = run.run()
    assert log.attack("gap").status == "skipped"
    assert "does not know it" in log.attack("gap").reason
    assert [r.title for r in log.attacks if r.status == "ok"] == ["loss", "confidence", "lira", "shokri"]
    # The target's accuracy is the auditor's figure, and still measured against the truth.
    assert log.target.test_accuracy < 0.95
    # Against its own answer a target's loss is the log of its largest probability, with the sign turned.
    split, records = run.split(), run.inputs.records
    from vestige.seeds import seed_for

    target = run.inputs.recipe.fit(records, split.rows(0), seed_for(0, "model", 0))
    top = target.query(records.rows_of(split.audited), target.access).values.max(axis=1)
    inside, outside = top[split.masks[0, split.audited]], top[~split.masks[0, split.audited]]
    expected = np.mean((inside[:, None] > outside) + 0.5 * (inside[:, None] == outside))
    assert log.attack("loss").auc.value == pytest.approx(expected, abs=1e-6)


def test_the_truth_does_not_reach_an_adversary_without_labels(tmp_path):
    """Permuting the true labels of records that no model trains on cannot change what such an adversary scores."""
    records = load_dataset("digits").take(np.arange(600))
    config = AuditConfig.model_validate(
        {
            "audit": {
                "attacks": ["loss", "entropy", "confidence", "modified_entropy"],
                "labels": "predicted",
                "fpr": [0.1],
            }
        }
    )
    members = np.zeros(600, bool)
    members[::2] = True
    from sklearn.ensemble import RandomForestClassifier

    from vestige.backends.coerce import as_target

    forest = RandomForestClassifier(12, random_state=0).fit(records.x[members], records.y[members])
    found = []
    for shift in (0, 3):
        y = np.where(members, records.y, (records.y + shift) % 10)
        shifted = Records.build(records.x, y, classes=[str(c) for c in range(10)])
        target = as_target(forest, task="classification", classes=shifted.classes)
        inputs = Inputs(records=shifted, recipe=None, target=target, members=members)
        shadowless = config.model_copy(update={"shadow": config.shadow.model_copy(update={"count": 0})})
        log = Audit(inputs=inputs, config=shadowless, store=Store(tmp_path / str(shift))).run()
        found.append({r.title: r.auc.value for r in log.attacks if r.status == "ok"})
    assert len(found[0]) == 4
    assert found[0] == found[1]
    assert found[0]["loss"] > 0.6


def test_probes_ask_about_the_label_that_the_target_names(tmp_path):
    run = audit(tmp_path, attacks=["noise"], labels="predicted", access="label", budget=10, limit=300)
    log = run.run()
    assert log.attack("noise").status == "ok", log.attack("noise").reason
    plain = audit(tmp_path, attacks=["noise"], access="label", budget=10, limit=300).run()
    # Misclassified records lose their half copy against the truth, and nothing against the target's own answer.
    assert plain.attack("noise").auc != log.attack("noise").auc


def test_named_classes_are_the_models_own(tmp_path):
    digits = load_dataset("digits")
    model = SklearnRecipe(KNeighborsClassifier(1)).fit(digits, np.arange(500), 0)
    assert (ask_labels(model, digits, np.arange(500)) == digits.y[:500]).all()


def test_a_regression_has_no_predicted_label(tmp_path):
    records = Records.build(rng(0, "x").standard_normal((80, 2)), rng(0, "y").standard_normal(80))
    config = AuditConfig.model_validate({"audit": {"labels": "predicted"}})
    recipe = SklearnRecipe(DecisionTreeClassifier())
    with pytest.raises(UsageError, match='labels = "predicted" needs classes'):
        Audit(inputs=Inputs(records=records, recipe=recipe), config=config, store=Store(tmp_path))


def test_the_log_says_how_unlike_members_and_others_are(baseline):
    found = {one.signal: one for one in baseline[0].divergence}
    assert set(found) == {"loss", "entropy"}
    loss = found["loss"]
    assert loss.value.low <= loss.value.value <= loss.value.high
    assert loss.value.value == pytest.approx((loss.plain - loss.chance) / (1 - loss.chance))
    assert loss.value.low > 0  # a deep tree
    assert "Jensen–Shannon divergence" in baseline[0].render("html")
    assert "Jensen–Shannon divergence" in baseline[0].render("md")

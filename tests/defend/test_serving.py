"""Defences in front of models that people already have."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vestige.defend import MemGuard, serve
from vestige.errors import AccessError, ConfigError, UsageError
from vestige.target import Access

X = np.random.default_rng(0).random((300, 5))
Y = np.array(["ant", "bee", "cat"])[X[:, :3].argmax(1)]


@pytest.fixture(scope="module")
def forest():  # type: ignore[no-untyped-def]
    ensemble = pytest.importorskip("sklearn.ensemble")
    return ensemble.RandomForestClassifier(20, random_state=0).fit(X[:150], Y[:150])


def test_an_estimator_keeps_its_interface(forest) -> None:  # type: ignore[no-untyped-def]
    served = serve(forest, [{"kind": "temperature", "temperature": 2.0}, "top_k", {"kind": "round", "digits": 1}])
    assert served.classes_.tolist() == ["ant", "bee", "cat"]
    found = served.predict_proba(X)
    assert found.shape == (300, 3)
    np.testing.assert_allclose(found * 10, np.round(found * 10), atol=1e-9)
    assert (served.predict(X) == served.classes_[found.argmax(1)]).all()
    assert (served.predict(X) == forest.predict(X)).mean() > 0.97
    assert "top_k" in repr(served)


def test_memguard_wraps_an_estimator_and_keeps_its_classes_and_budget(forest) -> None:  # type: ignore[no-untyped-def]
    guarded = MemGuard(forest, X[:150], X[150:], budget=0.3)
    plain, found = forest.predict_proba(X), guarded.predict_proba(X)
    np.testing.assert_allclose(found.sum(1), 1)
    assert (found.argmax(1) == plain.argmax(1)).all()
    distance = np.abs(found - plain).sum(1)
    assert distance.max() > 0
    assert distance.mean() <= 0.3 + 3 * distance.std() / np.sqrt(len(distance))
    assert np.array_equal(guarded.predict_proba(X), found)


def test_a_guarded_model_goes_wherever_a_trained_classifier_goes(forest) -> None:  # type: ignore[no-untyped-def]
    from sklearn.base import clone, is_classifier
    from sklearn.frozen import FrozenEstimator
    from sklearn.metrics import get_scorer
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    guarded = MemGuard(forest, X[:150], X[150:], budget=0.3)
    assert is_classifier(guarded)
    assert clone(guarded) is guarded.fit(X, Y) is guarded
    right = (forest.predict(X) == Y).mean()
    assert guarded.score(X, Y) == get_scorer("accuracy")(guarded, X, Y) == right
    assert get_scorer("roc_auc_ovr")(guarded, X, Y) > 0.8
    piped = make_pipeline(FunctionTransformer(), guarded)
    assert np.array_equal(piped.predict_proba(X), guarded.predict_proba(X))
    assert cross_val_score(FrozenEstimator(guarded), X[150:], Y[150:], cv=3).mean() > 0.5


def test_keys_are_secret_unless_given(forest) -> None:  # type: ignore[no-untyped-def]
    noise = [{"kind": "noise", "scale": 0.5}]
    drawn = [serve(forest, noise).predict_proba(X) for _ in range(2)]
    assert not np.allclose(*drawn)
    given = [serve(forest, noise, key=b"secret").predict_proba(X) for _ in range(2)]
    assert np.array_equal(*given)
    with pytest.raises(UsageError, match="64 bytes"):
        serve(forest, noise, key=b"k" * 65)


def test_a_frame_is_asked_as_it_is(forest) -> None:  # type: ignore[no-untyped-def]
    pd = pytest.importorskip("pandas")
    pipeline = pytest.importorskip("sklearn.pipeline")
    compose = pytest.importorskip("sklearn.preprocessing")
    frame = pd.DataFrame({"kind": Y, "size": X[:, 0]})
    model = pipeline.make_pipeline(compose.OneHotEncoder(handle_unknown="ignore"), type(forest)(10, random_state=0))
    model.fit(frame[:150], Y[:150])
    served = serve(model, ["rank_release"], members=frame[:150])
    assert (served.predict(frame) == model.predict(frame)).all()


def test_a_torch_module_is_served_too() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    x = torch.from_numpy(X.astype(np.float32))
    served = serve(module, ["top_k"])
    with torch.no_grad():
        wanted = torch.softmax(module(x), 1).numpy()
    np.testing.assert_allclose(served.predict_proba(x), wanted, atol=1e-6)
    assert served.classes_.tolist() == [0, 1, 2]
    guarded = MemGuard(module, X[:150], X[150:], classes=["a", "b", "c"], epochs=5)
    assert (guarded.predict(X) == np.array(["a", "b", "c"])[wanted.argmax(1)]).all()


def test_labels_alone_have_no_scores(forest) -> None:  # type: ignore[no-untyped-def]
    served = serve(forest, ["label_only"])
    assert (served.predict(X) == forest.predict(X)).all()
    assert served.access == Access.LABEL
    with pytest.raises(AccessError, match="label"):
        served.predict_proba(X)


def test_labels_alone_of_a_torch_module_have_no_scores_either() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(5, 3)).eval()
    served = serve(module, ["label_only"], classes=3)
    assert served.access == Access.LABEL
    assert set(served.predict(X)) <= {0, 1, 2}
    for ask in (served.predict_proba, lambda x: served.query(x, Access.SCORE)):
        with pytest.raises(AccessError, match="label"):
            ask(X)
    with pytest.raises(AccessError, match="labels to be answered"):
        served._target.query(X, Access.SCORE)
    with pytest.raises(AccessError, match="labels to be answered"):
        served._target.query(X, Access.WHITE_BOX)


def test_two_classes_from_one_column_and_one_class(forest) -> None:  # type: ignore[no-untyped-def]
    torch = pytest.importorskip("torch")
    dummy = pytest.importorskip("sklearn.dummy")
    torch.manual_seed(1)
    single = torch.nn.Sequential(torch.nn.Linear(5, 1)).eval()
    chain = [{"kind": "temperature", "temperature": 3.0}, "noise", "rank_release", "top_k", "round"]
    served = serve(single, chain, members=X[:50], classes=["no", "yes"])
    assert served.predict_proba(X).shape == (300, 2)
    with torch.no_grad():
        wanted = single(torch.from_numpy(X.astype(np.float32)))[:, 0].numpy() > 0
    assert (served.predict(X) == np.where(wanted, "yes", "no")).mean() > 0.97
    alone = dummy.DummyClassifier().fit(X, np.array(["only"] * 300))
    with pytest.raises(UsageError, match="two classes"):
        serve(alone, ["top_k"])


def test_private_answers_are_counted_and_claimed_for(forest) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("dp_accounting")
    served = serve(forest, [{"kind": "private_prediction", "epsilon": 1.0, "answers": 30}])
    first = served.predict(X[:20])
    assert served.answered == 20
    assert np.array_equal(served.predict(X[:20]), first)
    claim = served.claim()
    assert claim is not None
    assert 0 < claim.epsilon <= 20
    assert served.answered == 20
    assert serve(forest, ["top_k"]).claim() is None


def test_what_cannot_be_served_is_refused(forest) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="members="):
        serve(forest, ["memguard"])
    with pytest.raises(ConfigError, match="trained already"):
        serve(forest, ["label_smoothing"])
    with pytest.raises(UsageError, match="classes="):
        serve(lambda x: x, ["top_k"])


@pytest.mark.parametrize(
    "chain",
    [
        ["label_only", "top_k"],
        ["private_prediction", "label_only"],
        ["top_k", "temperature"],
        ["round", "noise"],
        ["round", "rank_release"],
        ["noise", "temperature"],
    ],
)
def test_a_chain_out_of_order_is_refused(forest, chain: list[str]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match="List it"):
        serve(forest, chain, members=X[:150])


def test_the_whole_chain_in_order_stands(forest) -> None:  # type: ignore[no-untyped-def]
    chain = ["temperature", "noise", "rank_release", "memguard", "top_k", "round", "label_only"]
    served = serve(forest, chain, members=X[:150], others=X[150:])
    assert (served.predict(X) == forest.predict(X)).mean() > 0.97


def test_naming_the_package_loads_no_backend() -> None:
    code = "import vestige.defend, sys; assert not {'torch', 'sklearn', 'dp_accounting'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "from vestige.defend import serve; import sys; assert not {'torch', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

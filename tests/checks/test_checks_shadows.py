import numpy as np
import pytest

from vestige.checks import missing_in_or_out, shadow_accuracy_gap


def test_complementary_pairs_lack_nothing():
    one = np.arange(100) % 2 == 0
    assert missing_in_or_out(np.stack([one, ~one])) is None


@pytest.mark.parametrize(("lacking", "level"), [(2, "warning"), (10, "error")])
def test_records_without_in_models(lacking, level):
    one = np.arange(100) % 2 == 0
    masks = np.stack([one, ~one])
    masks[:, :lacking] = False
    check = missing_in_or_out(masks)
    assert (check.id, check.level) == ("missing-in-or-out", level)
    assert f"{lacking} were trained on by no shadow model and 0 by all 2" in check.message
    assert missing_in_or_out(masks, side="out") is None


def test_records_without_out_models():
    assert missing_in_or_out(np.ones((4, 10), bool), side="out").level == "error"


def gap(train, test, shadows):
    return shadow_accuracy_gap(
        target_train=train, target_test=test, shadow_train=np.full(len(shadows), 0.99), shadow_test=shadows
    )


def test_accuracies_within_the_shadows_spread_are_fine():
    assert gap(0.99, 0.62, [0.60, 0.61, 0.59, 0.62]) is None
    assert gap(0.99, 0.80, [0.6, 0.9, 0.7, 0.8]) is None
    assert gap(None, None, [0.6, 0.9]) is None
    assert gap(0.99, 0.5, []) is None


@pytest.mark.parametrize(
    ("train", "test", "level", "says"),
    [
        (0.99, 0.67, "warning", "On other records the target's accuracy is 67.0% and the shadow models' 60.0%"),
        (0.99, 0.90, "error", "On other records"),
        (0.70, 0.60, "error", "On training records"),
    ],
)
def test_accuracies_far_from_the_shadows(train, test, level, says):
    check = gap(train, test, [0.60, 0.60, 0.59, 0.61] * 4)
    assert (check.id, check.level) == ("shadow-accuracy-gap", level)
    assert says in check.message


def test_shadows_without_a_figure_are_left_out():
    assert gap(0.99, 0.60, [0.6, np.nan, 0.6]) is None

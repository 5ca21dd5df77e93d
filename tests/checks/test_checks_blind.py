import time

import numpy as np
import pytest

from vestige.checks import blind_auc, blind_baseline
from vestige.metrics import withheld
from vestige.seeds import rng


def halves(records, seed):
    return rng(seed, "halves").permutation(records) < records // 2


def judged(x, member, **options):
    return blind_baseline(blind_auc(x.astype(np.float32), member, **options))


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "binary", "labelled"])
def test_random_halves_rarely_raise_an_alarm(kind):
    alarms = 0
    for seed in range(200):
        draw = rng(seed, "blind", kind)
        x = {"heavy tails": draw.standard_t(1.5, (300, 15)), "binary": draw.random((300, 15)) < 0.1}.get(
            kind, draw.normal(size=(300, 15))
        )
        labels = draw.integers(0, 8, 300) if kind == "labelled" else None
        alarms += judged(x, halves(300, seed), labels=labels, seed=seed) is not None
    assert alarms <= 6  # 3 %


def test_groups_of_repeated_records_raise_no_alarm():
    """Ten near-copies per person: without the groups the classifier would know the person, not the side."""
    alarms, naive = 0, 0
    for seed in range(40):
        draw = rng(seed, "grouped")
        person = np.repeat(np.arange(60), 10)
        x = draw.normal(size=(60, 8))[person] + 0.2 * draw.normal(size=(600, 8))
        member = halves(60, seed)[person]
        alarms += judged(x, member, groups=person, seed=seed) is not None
        naive += judged(x, member, seed=seed) is not None
    assert alarms <= 2
    assert naive > 20


def shifted(x, member):
    x[member] += 0.4


def stretched(x, member):
    x[member] *= 1.4


def one_feature(x, member):
    x[member, 3] += 0.7


def curved(x, member):
    """No feature tells by itself: members have products of one sign more often."""
    flip = member == (x[:, 0] * x[:, 1] < 0)
    x[flip & (np.arange(len(x)) % 2 == 0), 0] *= -1


@pytest.mark.parametrize(
    ("difference", "width"),
    [(shifted, 6), (stretched, 6), (one_feature, 6), (curved, 6), (shifted, 300), (stretched, 300), (one_feature, 300)],
)
def test_sides_that_differ_are_found(difference, width):
    x, member = rng(0, "differ").normal(size=(2000, width)), halves(2000, 0)
    difference(x, member)
    check = judged(x, member)
    assert check is not None
    assert check.id == "blind-baseline"
    assert "AUC" in check.message


def test_a_clear_difference_is_an_error_and_a_slight_one_a_warning():
    x, member = rng(1, "differ").normal(size=(4000, 10)), halves(4000, 1)
    x[member, 0] += 0.25
    assert judged(x, member).level == "warning"
    x[member, 0] += 1.0
    assert judged(x, member).level == "error"


def test_labels_alone_can_give_the_sides_away():
    draw, member = rng(2, "differ"), halves(2000, 2)
    labels = np.where(member, draw.integers(0, 5, 2000), draw.integers(2, 7, 2000))
    x = draw.normal(size=(2000, 4))
    assert judged(x, member) is None
    assert judged(x, member, labels=labels).level == "error"


def test_sorted_data_split_in_the_middle_is_found():
    x = np.sort(rng(3, "differ").normal(size=(1000, 1)), axis=0)
    assert judged(x, np.arange(1000) < 500).level == "error"


def test_it_is_the_same_every_time():
    x, member = rng(4, "differ").normal(size=(500, 5)).astype(np.float32), halves(500, 4)
    assert blind_auc(x, member, seed=1) == blind_auc(x, member, seed=1)
    assert blind_auc(x, member, seed=1) != blind_auc(x, member, seed=2)


def test_too_few_records_or_groups_are_withheld():
    x = np.zeros((60, 3), np.float32)
    assert blind_auc(x, np.arange(60) < 30).value is None
    pair = blind_auc(np.zeros((200, 3), np.float32), np.arange(200) < 100, groups=np.arange(200) // 100)
    assert pair.value is None
    assert blind_baseline(withheld("few")) is None


def test_constant_and_missing_features_do_no_harm():
    x, member = np.ones((200, 4), np.float32), halves(200, 5)
    assert blind_auc(x, member).reason == "no feature varies"
    x[:, 1] = np.nan
    x[:, 2] = np.arange(200)
    x[0, 3] = np.inf
    assert blind_baseline(blind_auc(x, member)) is None


def test_many_records_of_many_features_take_under_a_second():
    x, member = rng(6, "differ").normal(size=(10_000, 784)).astype(np.float32), halves(10_000, 6)
    started = time.process_time()
    blind_auc(x, member)
    assert time.process_time() - started < 2.5  # measured 0.4 on one core

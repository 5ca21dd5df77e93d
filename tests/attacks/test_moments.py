import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.slow_toys import balanced_masks, evidence
from vestige.attacks.calibrated import Calibrated
from vestige.attacks.lira import LiRA
from vestige.attacks.moments import collect, runs, scalars
from vestige.errors import AuditError
from vestige.seeds import rng

BOTH, OUT = LiRA(), Calibrated()


def slow(values, mask):
    """Count, mean, scatter and median of the chosen models for each record and query, one at a time."""
    _, records, queries = values.shape
    count, mean, scatter, median = (np.full((records, queries), np.nan) for _ in range(4))
    for n in range(records):
        for a in range(queries):
            chosen = values[mask[:, n], n, a].astype(np.float64)
            count[n, a] = len(chosen)
            scatter[n, a] = ((chosen - chosen.mean()) ** 2).sum() if len(chosen) else 0.0
            if len(chosen):
                mean[n, a], median[n, a] = chosen.mean(), np.median(chosen)
    return count, mean, scatter, median


@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_moments_equal_a_loop_over_records(queries, offset):
    draw = rng(0, "moments", queries)
    values = (draw.normal(size=(7, 50, queries)) + offset).astype(np.float32)
    masks = draw.random((7, 50)) < 0.5
    masks[:, 0], masks[:, 1] = True, False
    masks[:, 2] = np.arange(7) == 0
    out, inside = collect(evidence(BOTH, values[0], values, masks), "log_odds")
    for side, mask in ((out, ~masks), (inside, masks)):
        count, mean, scatter, _ = slow(values, mask)
        assert np.array_equal(side.count, count[:, 0])
        assert np.allclose(side.mean, mean, rtol=0, atol=1e-9, equal_nan=True)
        assert np.allclose(side.scatter, scatter, rtol=1e-9, atol=1e-9)
        assert np.array_equal(side.freedom, np.maximum(side.count - 1, 0))


def test_a_far_away_centre_costs_no_digits():
    draw = rng(0, "far")
    noise = draw.normal(size=(6, 40)).astype(np.float32)
    far = (noise.astype(np.float64) * 2.0**-3 + 2.0**16).astype(np.float32)
    exact = far.astype(np.float64) - 2.0**16
    masks = balanced_masks(6, 40, draw)
    near, at = (collect(evidence(BOTH, v[0], v, masks), "log_odds")[0] for v in (exact, far))
    assert np.allclose(near.scatter, at.scatter, rtol=1e-9)


@pytest.mark.parametrize("attack", [BOTH, OUT])
def test_medians_equal_numpys(attack):
    draw = rng(0, "median")
    values = draw.normal(size=(9, 60, 2)).astype(np.float32)
    masks = draw.random((9, 60)) < 0.6
    masks[:, 0], masks[:, 1] = True, False
    sides = collect(evidence(attack, values[0], values, masks), "log_odds", centre="median")
    for side, mask in zip(sides, (~masks, masks), strict=True):
        median = slow(values, mask)[3]
        hidden = attack is OUT and mask is masks
        assert np.array_equal(side.centre, np.full_like(median, np.nan) if hidden else median, equal_nan=True)
        assert side is not sides[0] or not np.array_equal(side.mean, side.centre, equal_nan=True)


def test_the_out_side_never_sees_an_in_value():
    draw = rng(0, "hidden")
    values = draw.normal(size=(8, 30)).astype(np.float32)
    masks = balanced_masks(8, 30, draw)
    clean, hidden = collect(evidence(OUT, values[0], values, masks), "log_odds")
    for poison in (np.nan, np.inf, 3e38):
        spoilt = np.where(masks, np.float32(poison), values)
        again, _ = collect(evidence(OUT, values[0], spoilt, masks), "log_odds")
        for part in ("count", "mean", "scatter"):
            assert np.array_equal(getattr(clean, part), getattr(again, part))
    assert not hidden.count.any()
    assert np.isnan(hidden.mean).all()


def test_runs_of_records_do_not_show_in_the_result():
    draw = rng(0, "runs")
    values = draw.normal(size=(40, 20_000)).astype(np.float32)
    masks = balanced_masks(40, 20_000, draw)
    given = evidence(BOTH, values[0], values, masks)
    assert len(list(runs(given))) > 2
    out, inside = collect(given, "log_odds")
    assert np.allclose(inside.mean[:, 0], (values * masks).sum(axis=0, dtype=np.float64) / 20)
    assert np.allclose(out.mean[:, 0], (values * ~masks).sum(axis=0, dtype=np.float64) / 20)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_order_of_references_does_not_matter(seed):
    draw = rng(seed, "order")
    values = draw.normal(size=(6, 9)).astype(np.float32)
    masks = draw.random((6, 9)) < 0.5
    order = draw.permutation(6)
    for one, other in zip(
        collect(evidence(BOTH, values[0], values, masks), "log_odds"),
        collect(evidence(BOTH, values[0], values[order], masks[order]), "log_odds"),
        strict=True,
    ):
        assert np.allclose(one.mean, other.mean, equal_nan=True)
        assert np.allclose(one.scatter, other.scatter)


def test_a_vector_signal_is_refused():
    given = evidence(BOTH, np.zeros(4), np.zeros((2, 4)), np.zeros((2, 4)))
    given.own.columns["log_odds"][0] = np.zeros((4, 1, 3), np.float32)
    with pytest.raises(AuditError, match="one number per query"):
        scalars(given, "log_odds")

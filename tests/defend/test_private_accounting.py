"""What private trainings cost: published figures, two other accountants, and the defect that must not pass."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from vestige.defend.private import accounting
from vestige.defend.private.accounting import Account, expanded, gaussian_steps, opacus_epsilon, seconded
from vestige.defend.private.calibration import noise_for
from vestige.defend.private.ledger import composed, entries, entry, event_of, steps
from vestige.defend.private.schedules import factors
from vestige.defend.private.terms import Terms, public_count, usual_delta
from vestige.errors import ConfigError, DataError, ModelError
from vestige.metrics.epsilon.curve import tpr_limit

events = pytest.importorskip("dp_accounting")
pytest.importorskip("opacus")

ROUGH = 5e-4
"""A grid five times as wide as the usual one, where a figure is known to three digits only."""
# noise, rate, steps, δ: ε by RDP, by Opacus' PRV, by PLD, and by PLD for exchanging a record.
GOLDEN = [
    (1.0, 0.01, 1000, 1e-5, 2.1014, 1.8384, 1.8282, 2.8434),
    (1.1, 256 / 60000, 14040, 1e-5, 2.5944, 2.3897, 2.3796, 4.2175),
    (0.7, 0.02, 500, 1e-5, 7.6641, 6.6643, 6.6538, 8.349),
    (4.0, 0.3, 200, 1e-5, 5.2700, 4.8723, 4.8621, 10.6708),
    (1.0, 1.0, 1, 1e-5, 4.7285, 4.3874, 4.3772, 9.9973),
    (2.0, 1.0, 10, 1e-6, 8.8469, 8.3166, 8.3062, 19.4237),
    pytest.param(0.5, 0.001, 10000, 1e-6, 7.5697, 6.3566, 6.3461, 6.8525, marks=pytest.mark.slow),
    (10.0, 0.05, 5000, 1e-5, 1.4865, 1.3737, 1.3636, 2.9425),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("noise", "rate", "count", "delta", "renyi", "prv", "pld", "exchanged"), GOLDEN)
def test_three_accountants_give_the_published_figures(
    noise: float, rate: float, count: int, delta: float, renyi: float, prv: float, pld: float, exchanged: float
) -> None:
    account = Account(gaussian_steps(noise, rate, count))
    assert account.epsilon(delta) == pytest.approx(pld, abs=1e-3)
    assert account.renyi(delta) == pytest.approx(renyi, abs=1e-3)
    assert opacus_epsilon([(noise, rate, count)], delta) == pytest.approx(prv, abs=0.02)
    assert Account(account.event, "replace_one").epsilon(delta) == pytest.approx(exchanged, abs=1e-3)
    assert account.epsilon(delta) <= account.renyi(delta)


def test_mixed_ledgers_give_the_published_figures() -> None:
    mixed = events.ComposedDpEvent(
        [gaussian_steps(1.0, 0.01, 1000), events.GaussianDpEvent(10.0), events.LaplaceDpEvent(5.0)]
    )
    assert Account(mixed).epsilon(1e-5) == pytest.approx(1.9893, abs=1e-3)
    assert Account(mixed).renyi(1e-5) == pytest.approx(2.2542, abs=1e-3)
    cut = events.SelfComposedDpEvent(events.TruncatedSubsampledGaussianDpEvent(60000, 256 / 60000, 320, 1.1), 3510)
    assert Account(cut).epsilon(1e-5) == pytest.approx(1.161, abs=1e-3)


def test_a_linear_schedule_gives_the_published_figures() -> None:
    noises = 1.5 * np.array(factors("linear", 0.7 / 1.5, 20))
    event = events.ComposedDpEvent([gaussian_steps(float(noise), 0.01, 50) for noise in noises])
    assert Account(event, grid=ROUGH).epsilon(1e-5) == pytest.approx(2.5776, abs=1e-3)
    assert Account(event).renyi(1e-5) == pytest.approx(3.3481, abs=1e-3)


@pytest.mark.parametrize(
    "one",
    [
        events.GaussianDpEvent(3.0),
        events.LaplaceDpEvent(5.0),
        events.dp_event.DiscreteLaplaceDpEvent(0.3, 1),
        events.PoissonSampledDpEvent(0.1, events.GaussianDpEvent(1.0)),
        events.PoissonSampledDpEvent(0.1, events.LaplaceDpEvent(1.0)),
        events.RandomizedResponseDpEvent(10 / (math.e + 9), 10),
        pytest.param(events.TruncatedSubsampledGaussianDpEvent(1000, 0.1, 150, 2.0), marks=pytest.mark.slow),
    ],
)
def test_a_count_is_as_many_single_events(one: object) -> None:
    written = events.ComposedDpEvent([one] * 3)
    relation = "replace_one" if isinstance(one, events.RandomizedResponseDpEvent) else "add_remove"
    wanted = Account(written, relation, ROUGH).epsilon(1e-6)
    for counted in (events.SelfComposedDpEvent(one, 3), events.ComposedDpEvent([events.SelfComposedDpEvent(one, 3)])):
        assert Account(counted, relation, ROUGH).epsilon(1e-6) == pytest.approx(wanted, rel=1e-3)


def test_a_hundred_randomized_responses_cost_what_a_hundred_do() -> None:
    one = events.RandomizedResponseDpEvent(10 / (math.e + 9), 10)
    counted = events.SelfComposedDpEvent(one, 100)
    assert Account(counted, "replace_one", ROUGH).epsilon(1e-6) == pytest.approx(39.90, abs=0.01)
    assert len(expanded(counted).events) == 100
    # The defect that is walked around: should it go away, so can the walk.
    relation = events.NeighboringRelation.REPLACE_ONE
    assert events.pld.PLDAccountant(relation).compose(counted).get_epsilon(1e-6) < 2


def test_the_curve_of_one_gaussian_step_is_the_gaussian_one() -> None:
    fpr = np.array([1e-3, 1e-2, 0.1])
    exact = stats.norm.cdf(stats.norm.ppf(fpr) + 1)
    assert tpr_limit(fpr, Account(gaussian_steps(1.0, 1.0, 1))) == pytest.approx(exact, rel=2e-3)


# In the last case the grid that is searched on is too rough to be right at once.
@pytest.mark.parametrize(("rate", "count", "epsilon"), [(1.0, 7, 0.3), (1.0, 7, 3.0), (0.3, 4, 3.0), (0.01, 1000, 0.3)])
def test_the_noise_found_is_the_least_that_keeps_the_budget(rate: float, count: int, epsilon: float) -> None:
    def event(noise: float) -> object:
        return gaussian_steps(noise, rate, count)

    noise = noise_for(epsilon, 1e-5, event)
    assert epsilon * (1 - 3e-4) < Account(event(noise)).epsilon(1e-5) <= epsilon
    assert Account(event(noise * 0.999)).epsilon(1e-5) > epsilon


@pytest.mark.slow
def test_the_noise_for_the_published_training() -> None:
    assert noise_for(3.0, 1e-5, lambda noise: gaussian_steps(noise, 256 / 60000, 3510)) == pytest.approx(
        0.7281, abs=2e-4
    )


def test_little_noise_is_accounted_by_renyi_and_said_so() -> None:
    account = Account(gaussian_steps(0.05, 0.1, 10))
    assert account.epsilon(1e-5) == account.renyi(1e-5) > 1000
    assert account.method.endswith("RDP")
    assert Account(gaussian_steps(1.0, 0.1, 10)).method.endswith("PLD")


def test_accountants_that_contradict_each_other_are_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(gaussian_steps(1.0, 0.1, 50))
    said = seconded(account, [(1.0, 0.1, 50)], 1e-5)
    assert said.startswith(f"{account.method} ({account.epsilon(1e-5):.4g}; RDP {account.renyi(1e-5):.4g}")
    with pytest.raises(ModelError, match="contradict"):
        seconded(account, [(1.0, 0.1, 100)], 1e-5)
    monkeypatch.setattr(Account, "renyi", lambda *_: 0.1)
    with pytest.raises(ModelError, match="contradict"):
        seconded(account, [(1.0, 0.1, 50)], 1e-5)


def test_a_ledger_survives_json() -> None:
    event = events.ComposedDpEvent(
        [gaussian_steps(1.2, 0.02, 30), gaussian_steps(0.9, 1.0, 4), events.LaplaceDpEvent(2.0)]
    )
    written = json.loads(json.dumps(entries(event)))
    assert composed(written) == event
    assert steps(written) == 35
    assert event_of(entry(events.ZCDpEvent(0.1))) == events.ZCDpEvent(0.1)
    for wrong in ({"kind": "Homoeopathic"}, {"kind": "Gaussian", "sigma": 1.0}):
        with pytest.raises(DataError):
            event_of(wrong)
    with pytest.raises(DataError):
        entry("Gaussian")


def test_terms_follow_from_public_numbers() -> None:
    def terms(members: int) -> Terms:
        return Terms.of(members=members, batch_size=64, factors=(1.0, 0.5), delta=None, epsilon=None, noise=1.0)

    assert terms(2498) == terms(2502)
    found = terms(2502)
    assert (found.count, found.rate, found.steps, found.divisor) == (2500, 64 / 2500, 40, 64.0)
    assert found.delta == usual_delta(2500) == 1e-5
    assert usual_delta(50_000) == pytest.approx(2e-6)
    assert [part.event.event.noise_multiplier for part in found.event.events] == [1.0, 0.5]
    assert [part.count for part in found.event.events] == [40, 40]
    assert [public_count(n) for n in (1, 99, 104, 105, 149_999)] == [1, 99, 100, 100, 150_000]
    small = terms(40)
    assert (small.rate, small.steps, small.divisor) == (1.0, 1, 40.0)


def test_noise_for_a_schedule_keeps_the_budget() -> None:
    terms = Terms.of(members=128, batch_size=64, factors=factors("step", 0.5, 4), delta=1e-5, epsilon=1.0, noise=None)
    assert 0.9995 < terms.account.epsilon(1e-5) <= 1.0


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [("constant", (1, 1, 1)), ("linear", (1, 0.7, 0.4)), ("exponential", (1, 0.4**0.5, 0.4)), ("step", (1, 1, 0.4))],
)
def test_schedules_end_where_they_say(schedule: str, wanted: tuple[float, ...]) -> None:
    assert factors(schedule, 0.4, 3) == pytest.approx(wanted)  # type: ignore[arg-type]
    assert factors(schedule, 0.4, 1) == (1.0,)  # type: ignore[arg-type]


def test_schedules_that_there_are_not() -> None:
    for schedule, decay in (("sawtooth", 0.5), ("linear", 0.0), ("linear", 1.5), ("linear", math.nan)):
        with pytest.raises(ConfigError):
            factors(schedule, decay, 3)  # type: ignore[arg-type]


def test_two_computations_of_renyi_bounds_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    said = accounting.renyi_seconded(1.2, 0.25, 20, 1e-5)
    assert "RDP (6.727; Opacus RDP 6.72)" in said
    monkeypatch.setattr(accounting, "opacus_renyi", lambda *_: 6.0)
    with pytest.raises(ModelError, match="Two accountants contradict"):
        accounting.renyi_seconded(1.2, 0.25, 20, 1e-5)

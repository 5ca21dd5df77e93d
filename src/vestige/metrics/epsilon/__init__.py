"""ε from scores: every bound with its confidence, what it assumes, and the largest value it could ever show."""

from vestige.metrics.epsilon.base import Coins, EpsilonBound, check_delta, coins
from vestige.metrics.epsilon.bayesian import bayesian
from vestige.metrics.epsilon.curve import CurveVerdict, claim_on_curve, limit_of, tpr_limit
from vestige.metrics.epsilon.gaussian import gdp_fit
from vestige.metrics.epsilon.gdp import gdp_delta, gdp_epsilon
from vestige.metrics.epsilon.guesses import GuessBonferroni, GuessScan, GuessShare, GuessSplit
from vestige.metrics.epsilon.multiplicity import Family, family, holm
from vestige.metrics.epsilon.one_run import epsilon_of_guesses, one_run
from vestige.metrics.epsilon.one_run_fdp import one_run_fdp
from vestige.metrics.epsilon.order_statistics import order_statistics
from vestige.metrics.epsilon.ratios import ratio
from vestige.metrics.epsilon.thresholds import Bonferroni, Explicit, MultiSplit, Split, Thresholds
from vestige.metrics.epsilon.two_sample import clopper_pearson, joint_region

__all__ = [
    "Bonferroni",
    "Coins",
    "CurveVerdict",
    "EpsilonBound",
    "Explicit",
    "Family",
    "GuessBonferroni",
    "GuessScan",
    "GuessShare",
    "GuessSplit",
    "MultiSplit",
    "Split",
    "Thresholds",
    "bayesian",
    "check_delta",
    "claim_on_curve",
    "clopper_pearson",
    "coins",
    "epsilon_of_guesses",
    "family",
    "gdp_delta",
    "gdp_epsilon",
    "gdp_fit",
    "holm",
    "joint_region",
    "limit_of",
    "one_run",
    "one_run_fdp",
    "order_statistics",
    "ratio",
    "tpr_limit",
]

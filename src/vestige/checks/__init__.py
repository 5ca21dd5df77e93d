"""Is the audit itself sound? Each check is a small function that returns a `Check`, or None when all is well."""

from vestige.checks.base import CATALOGUE, Check, Explanation, Level, Made, check
from vestige.checks.blind import blind_auc, blind_baseline
from vestige.checks.canaries import canaries_alike, canaries_could_not_fail
from vestige.checks.data import duplicates, few_nonmembers, member_imbalance, near_duplicates, prior_used
from vestige.checks.figures import (
    all_scores_equal,
    auc_below_half,
    cannot_refute,
    claim_untested,
    epsilon_claim,
    interval_wider_than_margin,
    operating_point_off,
    weaker_than_loss,
)
from vestige.checks.shadows import missing_in_or_out, shadow_accuracy_gap
from vestige.checks.target import (
    outputs_clipped,
    outputs_rounded,
    outputs_softmaxed,
    outputs_tied,
    target_batch_dependent,
    target_not_deterministic,
    target_train_mode,
)

__all__ = [
    "CATALOGUE",
    "Check",
    "Explanation",
    "Level",
    "Made",
    "all_scores_equal",
    "auc_below_half",
    "blind_auc",
    "blind_baseline",
    "canaries_alike",
    "canaries_could_not_fail",
    "cannot_refute",
    "check",
    "claim_untested",
    "duplicates",
    "epsilon_claim",
    "few_nonmembers",
    "interval_wider_than_margin",
    "member_imbalance",
    "missing_in_or_out",
    "near_duplicates",
    "operating_point_off",
    "outputs_clipped",
    "outputs_rounded",
    "outputs_softmaxed",
    "outputs_tied",
    "prior_used",
    "shadow_accuracy_gap",
    "target_batch_dependent",
    "target_not_deterministic",
    "target_train_mode",
    "weaker_than_loss",
]

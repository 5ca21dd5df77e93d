"""Figures from scores, and the uncertainty of every one of them: plain numpy and scipy that know nothing of models."""

from vestige.metrics.agreement import Agreement, agreement
from vestige.metrics.bootstrap import bootstrap, bootstrap_auc
from vestige.metrics.calibration import Calibration, Posterior, calibrate, reliability
from vestige.metrics.divergence import Divergence, divergence, jensen_shannon
from vestige.metrics.estimate import Estimate, withheld
from vestige.metrics.exposure import Moments, exposure, moments
from vestige.metrics.histogram import ScoreHistogram, histogram
from vestige.metrics.intervals import (
    OperatingPoint,
    auc,
    balanced_accuracy,
    clopper_pearson,
    operating_point,
    proportion,
)
from vestige.metrics.many import Standing, together
from vestige.metrics.paired import Judged, judged, paired_auc, paired_tpr, paired_tprs
from vestige.metrics.risk import RiskSlice, exposure_quantiles, posterior_histogram, share_at_risk, slices
from vestige.metrics.roc import Roc, area, best_threshold, distinct_above, ppv, roc, thin, threshold_at_fpr
from vestige.metrics.targets import TargetMean, mean_band, mean_over_targets
from vestige.metrics.tpr import Band, band, needed, tnr_at_fnr, tpr_at_fpr, tprs_at

__all__ = [
    "Agreement",
    "Band",
    "Calibration",
    "Divergence",
    "Estimate",
    "Judged",
    "Moments",
    "OperatingPoint",
    "Posterior",
    "RiskSlice",
    "Roc",
    "ScoreHistogram",
    "Standing",
    "TargetMean",
    "agreement",
    "area",
    "auc",
    "balanced_accuracy",
    "band",
    "best_threshold",
    "bootstrap",
    "bootstrap_auc",
    "calibrate",
    "clopper_pearson",
    "distinct_above",
    "divergence",
    "exposure",
    "exposure_quantiles",
    "histogram",
    "jensen_shannon",
    "judged",
    "mean_band",
    "mean_over_targets",
    "moments",
    "needed",
    "operating_point",
    "paired_auc",
    "paired_tpr",
    "paired_tprs",
    "posterior_histogram",
    "ppv",
    "proportion",
    "reliability",
    "roc",
    "share_at_risk",
    "slices",
    "thin",
    "threshold_at_fpr",
    "tnr_at_fnr",
    "together",
    "tpr_at_fpr",
    "tprs_at",
    "withheld",
]

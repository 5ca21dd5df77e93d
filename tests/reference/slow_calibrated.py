"""Calibrated attacks one record at a time, straight from their definitions. Slow on purpose."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm


def split(column, mask):
    """One record's values under OUT and under IN references, as float64."""
    column = np.asarray(column, np.float64)
    return column[~mask], column[mask]


def residual_deviation(references, masks, side):
    """Pooled deviation of residuals about each record's own mean; ``side`` True for IN."""
    squares, freedom = 0.0, 0
    for n in range(masks.shape[1]):
        values = np.asarray(references[:, n], np.float64)[masks[:, n] == side]
        if len(values) > 1:
            squares += float(((values - values.mean()) ** 2).sum())
            freedom += len(values) - 1
    return math.sqrt(squares / freedom)


def lira(own, references, masks, *, variance="per_record", centre=np.mean):
    """Online LiRA on one query."""
    fixed = None
    if variance == "pooled":
        fixed = [residual_deviation(references, masks, side) for side in (False, True)]
    scores = []
    for n in range(len(own)):
        outs, ins = split(references[:, n], masks[:, n])
        deviations = fixed or [outs.std(ddof=1), ins.std(ddof=1)]
        member = norm.logpdf(float(own[n]), centre(ins), deviations[1])
        scores.append(member - norm.logpdf(float(own[n]), centre(outs), deviations[0]))
    return np.array(scores)


def lira_offline(own, references, masks, *, variance="per_record", sides="one"):
    """Offline LiRA on one query."""
    fixed = residual_deviation(references, masks, False) if variance == "pooled" else None
    scores = []
    for n in range(len(own)):
        outs, _ = split(references[:, n], masks[:, n])
        law = norm(outs.mean(), fixed or outs.std(ddof=1))
        scores.append(-law.logsf(float(own[n])) if sides == "one" else -law.logpdf(float(own[n])))
    return np.array(scores)


def rmia_ratio(own, references, masks, *, offline_a=None):
    """p(x | target) / p(x) in plain probabilities; ``offline_a`` None for the online form."""
    ratios = []
    for n in range(len(own)):
        sides = split(references[:, n], masks[:, n])
        outs, ins = (np.exp(values).mean() if len(values) else math.nan for values in sides)
        if offline_a is not None:
            ins = offline_a * outs + (1 - offline_a)
        ratios.append(math.exp(float(own[n])) / (0.5 * (ins + outs)))
    return np.array(ratios)


def rmia_share(ratios, population, gamma):
    """The share of population records that each ratio beats, pair by pair."""
    return np.array([np.mean([ratio / other >= gamma for other in population]) for ratio in ratios])


def rmia_votes(ratios, population, gamma):
    """(N, A) and (Z, A): a pair is won when more than half of its queries are."""
    shares = []
    for one in ratios:
        won = [sum(r / z >= gamma for r, z in zip(one, other, strict=True)) * 2 > len(one) for other in population]
        shares.append(np.mean(won))
    return np.array(shares)


def attack_r(own, references, masks):
    """The empirical log-odds by linear interpolation of the CDF between OUT references; NaN beyond them."""
    scores = []
    for n in range(len(own)):
        outs, _ = split(references[:, n], masks[:, n])
        ordered = np.sort(outs)
        if not ordered[0] <= own[n] <= ordered[-1]:
            scores.append(math.nan)
            continue
        share = np.interp(float(own[n]), ordered, np.arange(1, len(ordered) + 1) / (len(ordered) + 1))
        scores.append(math.log(share / (1 - share)))
    return np.array(scores)


def nearest(features):
    """Squared distance to the nearest other record after scaling each column to unit variance."""
    x = np.asarray(features, np.float64)
    deviation = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return np.array([min(float(((x[n] - x[k]) ** 2).sum()) for k in range(len(x)) if k != n) for n in range(len(x))])

"""Paired comparisons the obvious way: every pair of a member and a non-member, every record left out."""

from __future__ import annotations

import numpy as np


def wins(members, nonmembers):
    return (members[:, None] > nonmembers) + 0.5 * (members[:, None] == nonmembers)


def delong_covariance(first, second, member):
    """(2, 2) covariance of two AUCs on the same records, from the full matrices of pairs."""
    tables = [wins(scores[member], scores[~member]) for scores in (first, second)]
    by_member = np.cov([table.mean(axis=1) for table in tables])
    by_nonmember = np.cov([table.mean(axis=0) for table in tables])
    return by_member / member.sum() + by_nonmember / (~member).sum()


def jackknife_correlation(first, second, first_member, second_member):
    """Correlation of two AUCs over leaving out each record in turn, whatever it was to either model."""

    def area(scores, member, left):
        kept = np.arange(len(scores)) != left
        return wins(scores[kept & member], scores[kept & ~member]).mean()

    pairs = np.array(
        [(area(first, first_member, left), area(second, second_member, left)) for left in range(len(first))]
    )
    return np.corrcoef(pairs.T)[0, 1]

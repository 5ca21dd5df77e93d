"""Whether several attacks, or several runs of one attack, find the same members at the same false-positive rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vestige.metrics.roc import threshold_at_fpr


@dataclass(frozen=True)
class Agreement:
    """J sets of members: how many ``caught`` (J,) each, ``some`` of the attacks, and ``every`` one of them.

    ``wrong``: the share of non-members that some attack accuses, up to J times the rate of each. ``jaccard`` (J, J):
    the members that both catch among those that either does; NaN where neither catches any.
    """

    names: tuple[str, ...]
    caught: tuple[int, ...]
    some: int
    every: int
    wrong: float
    jaccard: NDArray[np.float64]


def agreement(scores: Mapping[str, ArrayLike], members: ArrayLike, fpr: float) -> Agreement:
    """Compare what attacks, or runs, catch at a false-positive rate of ``fpr`` each.

    ``scores``: (N,) for each name, larger = more likely a member, of the same records; ``members``: (N,) bool. A record
    is caught above the threshold that at most a share ``fpr`` of the non-members exceeds. Coverage is ``some``,
    stability (over seeds) the off-diagonal of ``jaccard``.

    >>> agreement({"a": [3, 2, 1, 0], "b": [3, 1, 2, 0]}, [True, True, False, False], 0.0).jaccard[0, 1]
    0.5
    """
    truth = np.asarray(members, np.bool_)
    above = []
    for values in scores.values():
        found = np.asarray(values, np.float64)
        above.append(found > threshold_at_fpr(found[~truth], fpr))
    verdicts = np.array(above).reshape(len(scores), len(truth))
    inside = verdicts[:, truth].astype(np.float64)
    both, sizes = inside @ inside.T, inside.sum(axis=1)
    either = sizes[:, None] + sizes[None, :] - both
    with np.errstate(invalid="ignore"):
        jaccard = both / either
    return Agreement(
        names=tuple(scores),
        caught=tuple(int(size) for size in sizes),
        some=int(inside.any(axis=0).sum()),
        every=int(inside.all(axis=0).sum()) if len(scores) else 0,
        wrong=float(verdicts[:, ~truth].any(axis=0).mean()),
        jaccard=np.asarray(jaccard, np.float64),
    )

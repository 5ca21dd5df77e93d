"""MemGuard's phase I for many queries at once: the least change of the scores that turns the defender's classifier."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from vestige.defend.answers.membership_net import MembershipNet

STEP = np.float32(0.1)
STEPS = 300
CLASSIFIER, LABEL = np.float32(1), np.float32(10)
WEIGHTS = np.array([0.1, 1, 10, 100, 1e3, 1e4, 1e5], np.float32)
"""The weight of the distortion, round after round."""
NEAR = 1e-5
"""An answer that the classifier puts as near to one half as this is left as it is."""
BLOCK = 512


@dataclass(eq=False)
class _Running:
    """Queries still searched for, one row each; their columns stand in the order of the present logits, downwards."""

    row: NDArray[np.int64]
    columns: NDArray[np.int64]
    start: NDArray[np.float32]
    scores: NDArray[np.float32]
    now: NDArray[np.float32]
    label: NDArray[np.int64]
    side: NDArray[np.float32]
    round: NDArray[np.int64]
    steps: NDArray[np.int64]

    def kept(self, rows: NDArray[np.bool_]) -> _Running:
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def put_in_order(self) -> None:
        """Sort the columns of every row whose logits no longer fall."""
        rows = np.flatnonzero((self.now[:, 1:] > self.now[:, :-1]).any(1))
        if not len(rows):
            return
        order = np.argsort(-self.now[rows], axis=1, kind="stable")
        for array in (self.columns, self.start, self.scores, self.now):
            array[rows] = np.take_along_axis(array[rows], order, 1)
        self.label[rows] = (order == self.label[rows, None]).argmax(1)

    def note(self, turned: NDArray[np.bool_], found: NDArray[np.float32]) -> None:
        """Keep what these rows found, and send them into their next round from the start."""
        rows = np.flatnonzero(turned)
        found[self.row[rows, None], self.columns[rows]] = self.now[rows]
        self.now[rows] = self.start[rows]
        self.steps[rows] = 0
        self.round[rows] += 1


def search(logits: NDArray[np.float64], net: MembershipNet) -> NDArray[np.float32]:
    """Return (R, C) logits whose softmax the classifier puts on the other side of one half, with the same label.

    Rows for which no such were found come back as they were. For each row, gradient steps of fixed length go down
    ``|logit of the classifier| + 10 · excess of the best other class + c · L1 distortion`` until the classifier turns
    and the label stands; then c grows tenfold and the search starts anew, and what was found last is kept. Every row
    goes through its rounds at its own pace and leaves when a round fails, so that the batch has no row that is done.
    """
    found = logits.astype(np.float32)
    for first in range(0, len(logits), BLOCK):
        _search(found[first : first + BLOCK], net)
    return found


def _search(found: NDArray[np.float32], net: MembershipNet) -> None:
    run = _begun(found, net)
    while len(run.row):
        run.put_in_order()
        scores = softmax32(run.now)
        layers = net.layers(scores)
        logit = layers[-1][:, 0]
        turned = (run.steps > 0) & (logit * run.side <= 0) & (run.label == 0) & (run.now[:, 0] > run.now[:, 1])
        slope = _slope(run, scores, net.rise(layers), logit)
        length = np.sqrt(np.einsum("rc,rc->r", slope, slope))
        # Without a slope nothing would ever move again, and the round has failed.
        moving = (length > 0) & np.isfinite(length) & (run.steps < STEPS) & ~turned
        run.note(turned, found)
        run.now -= np.where(moving, STEP / np.where(moving, length, 1), 0).astype(np.float32)[:, None] * slope
        run.steps += moving
        done = (run.round == len(WEIGHTS)) | ~(moving | turned)
        if done.any():
            run = run.kept(~done)


def _begun(found: NDArray[np.float32], net: MembershipNet) -> _Running:
    order = np.argsort(-found, axis=1, kind="stable")
    now = np.take_along_axis(found, order, 1)
    scores = softmax32(now)
    side = net.logit(scores)
    count = len(found)
    run = _Running(
        row=np.arange(count),
        columns=order,
        start=now.copy(),
        scores=scores,
        now=now,
        label=np.zeros(count, np.int64),
        side=side,
        round=np.zeros(count, np.int64),
        steps=np.zeros(count, np.int64),
    )
    return run.kept(np.abs(1 / (1 + np.exp(-side.astype(np.float64))) - 0.5) > NEAR)


def _slope(
    run: _Running, scores: NDArray[np.float32], rise: NDArray[np.float32], logit: NDArray[np.float32]
) -> NDArray[np.float32]:
    slope: NDArray[np.float32] = rise * (CLASSIFIER * np.sign(logit))[:, None] + WEIGHTS[run.round][:, None] * np.sign(
        scores - run.scores
    )
    slope -= np.einsum("rc,rc->r", slope, scores)[:, None]
    slope *= scores
    lost = np.flatnonzero(run.label > 0)
    slope[lost, 0] += LABEL
    slope[lost, run.label[lost]] -= LABEL
    return slope


def softmax32(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (R, C) scores of logits whose first column is the largest."""
    scores: NDArray[np.float32] = np.exp(logits - logits[:, :1])
    scores /= scores.sum(1, keepdims=True)
    return scores

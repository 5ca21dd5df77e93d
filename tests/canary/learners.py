"""Learners whose leak is known: nothing, everything, or one randomised bit per record."""

from __future__ import annotations

import numpy as np

from vestige.records import Records

SURE, UNSURE = 0.9, 0.6


def population(count=400, seed=0):
    """Records with distinct features; the label can be read off the first one, so that no model needs to learn it."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((count, 4)).astype(np.float32)
    return Records.build(x, (x[:, 0] > 0).astype(np.int64), ids=[f"record {k}" for k in range(count)])


def answering(bit_of):
    """A model that is surer of the right label where ``bit_of(row)`` is true."""

    def predict(x):
        bits = np.array([bit_of(row.tobytes()) for row in np.asarray(x, np.float32)])
        sure = np.where(bits, SURE, UNSURE)
        positive = np.asarray(x)[:, 0] > 0
        right = np.where(positive, sure, 1 - sure)
        return np.stack([1 - right, right], axis=1)

    return predict


def memoriser(x, y, seed):
    """Remember every training record, and tell."""
    known = {row.tobytes() for row in np.asarray(x, np.float32)}
    return answering(known.__contains__)


def shuffling_memoriser(x, y, seed):
    """The same, after a shuffle of the training records."""
    order = np.random.default_rng(seed).permutation(len(x))
    return memoriser(np.asarray(x)[order], np.asarray(y)[order], seed)


def oblivious(x, y, seed):
    """Answer from the record alone, whatever was trained on."""
    return answering(lambda row: row[0] % 2 == 0)


def randomised_response(epsilon):
    """Each record's membership, told truly with probability e^ε / (1 + e^ε): ε-private, and no less."""

    def train(x, y, seed):
        known = {row.tobytes() for row in np.asarray(x, np.float32)}
        keep = 1 / (1 + np.exp(-epsilon))
        said = {}

        def bit(row):
            if row not in said:
                draw = np.random.default_rng([seed, *row]).random()
                said[row] = (row in known) == (draw < keep)
            return said[row]

        return answering(bit)

    return train


RR1 = randomised_response(1.0)


def constant(x, y, seed):
    """Answer the same for every record."""
    return lambda asked: np.full((len(asked), 2), 0.5)


def diverged(x, y, seed):
    """Answer nothing that is a number."""
    return lambda asked: np.full((len(asked), 2), np.nan)


def speechless(x, y, seed):
    """Return something that is no model."""
    return 42

"""Trains many torch models at once, and asks many models at once: the same numbers as one by one, sooner."""

from __future__ import annotations

from vestige.backends.ensemble.engine import structure, train_many
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.querying import answer_many, block_of

__all__ = ["Plan", "answer_many", "block_of", "structure", "train_many"]

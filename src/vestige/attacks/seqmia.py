"""Sequences of several metrics: in what order they change tells members from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vestige.attacks.sequences import Network
from vestige.attacks.trajectory import Trajectory
from vestige.signals.process.metrics import METRICS


@dataclass(frozen=True, kw_only=True)
class SeqMIA(Trajectory):
    """Member if five metrics change, over a student's epochs and up to the target, in the order in which members' do.

    Score (N,): the difference of the logits of a recurrent network with attention, taught by shadow models; larger =
    more likely a member. The metrics are the loss, the largest probability, the deviation of the probabilities, the
    entropy and the modified entropy. The adversary needs what it needs for the trajectory attack, whose parameters
    these are, and both read one distillation. Section 4 of the paper.
    """

    paper: ClassVar[str] = "Li, Li, Wu et al., SeqMIA: sequential-metric based membership inference attack, CCS 2024"
    network: ClassVar[Network] = "lstm"
    metrics: ClassVar[tuple[str, ...]] = METRICS

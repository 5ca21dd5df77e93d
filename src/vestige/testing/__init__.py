"""The conformance kit: what every attack, signal and target must do, checked on simulated models.

``check_attack(MyAttack())`` passes in silence or raises ConformanceError with the property that does not hold.
"""

from __future__ import annotations

from vestige.testing.attacks import ATTACK_CHECKS, check_attack
from vestige.testing.conformance import ConformanceError
from vestige.testing.defences import check_defence
from vestige.testing.signals import check_signal
from vestige.testing.simulation import Trial, simulate, synthetic_evidence, take_records
from vestige.testing.targets import check_target

__all__ = [
    "ATTACK_CHECKS",
    "ConformanceError",
    "Trial",
    "check_attack",
    "check_defence",
    "check_signal",
    "check_target",
    "simulate",
    "synthetic_evidence",
    "take_records",
]

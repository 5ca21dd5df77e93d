"""The methods that `defences.py` compares, the settings that are tried of each, and the attacks on all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Chain = list[dict[str, Any]]
PLAIN = "undefended"
BATTERY: tuple[Any, ...] = (
    "gap",
    "loss",
    {"name": "loss", "params": {"thresholds": "band"}},
    {"name": "confidence", "params": {"thresholds": "class"}},
    {"name": "modified_entropy", "params": {"thresholds": "class"}},
    "attack_r",
    "calibrated",
    "lira",
    {"name": "lira", "params": {"variance": "pooled", "centre": "mean"}},
    "rmia",
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A chain of defences, whose first gets one of the ``choices`` of settings."""

    chain: tuple[str, ...] = ()
    fixed: dict[str, Any] = field(default_factory=dict)
    choices: tuple[dict[str, Any], ...] = ()


def chain_of(method: Method, settings: dict[str, Any]) -> Chain:
    """Return the chain with one choice of settings."""
    tables = [{"kind": kind} for kind in method.chain]
    return [{**tables[0], **method.fixed, **settings}, *tables[1:]] if tables else []


def _private(**budget: Any) -> Method:
    return Method(chain=("dp_sgd",), fixed={"delta": 1e-5, **budget}, choices=PRIVATE)


PRIVATE = (
    {"batch_size": 512, "lr": 0.5, "max_grad_norm": 1.0, "epochs": 30},
    {"batch_size": 512, "lr": 1.0, "max_grad_norm": 1.0, "epochs": 30},
    {"batch_size": 1024, "lr": 1.0, "max_grad_norm": 0.3, "epochs": 30},
    {"batch_size": 1024, "lr": 1.0, "max_grad_norm": 1.0, "epochs": 60},
)
LITTLE = (
    {"noise_multiplier": 0.05, "batch_size": 512, "lr": 1.0, "max_grad_norm": 1.0, "epochs": 60},
    {"noise_multiplier": 0.2, "batch_size": 512, "lr": 1.0, "max_grad_norm": 1.0, "epochs": 60},
    {"noise_multiplier": 0.5, "batch_size": 512, "lr": 2.0, "max_grad_norm": 1.0, "epochs": 60},
    {"noise_multiplier": 1.0, "batch_size": 512, "lr": 1.0, "max_grad_norm": 1.0, "epochs": 60},
)
METHODS: dict[str, Method] = {
    PLAIN: Method(),
    "early stopping": Method(
        chain=("early_stopping",), choices=({"patience": 1}, {"patience": 3}, {"patience": 5}, {"patience": 10})
    ),
    "RelaxLoss": Method(
        chain=("relaxloss",),
        choices=(
            {"level": 0.5, "upper": 1.0},
            {"level": 0.8, "upper": 0.3},
            {"level": 1.0, "upper": 1.0},
            {"level": 2.5, "upper": 0.1},
        ),
    ),
    "HAMP": Method(
        chain=("hamp", "rank_release"),
        choices=(
            {"gamma": 0.5, "alpha": 0.001},
            {"gamma": 0.6, "alpha": 0.01},
            {"gamma": 0.8, "alpha": 0.01},
            {"gamma": 0.95, "alpha": 0.001},
        ),
    ),
    "DMP": Method(
        chain=("dmp",),
        choices=(
            {"kept": 1.0, "temperature": 1.0},
            {"kept": 1.0, "temperature": 2.0},
            {"kept": 1.0, "temperature": 4.0},
            {"kept": 0.5, "temperature": 1.0},
        ),
    ),
    "mixup + MMD": Method(
        chain=("mixup_mmd",),
        choices=(
            {"strength": 1.0, "spread": 1.0},
            {"strength": 3.0, "spread": 1.0},
            {"strength": 3.0, "spread": 0.0},
            {"strength": 10.0, "spread": 0.0},
        ),
    ),
    "AdvReg": Method(
        chain=("adversarial_regularization",),
        choices=({"strength": 1.0}, {"strength": 3.0}, {"strength": 6.0}, {"strength": 10.0}),
    ),
    "SELENA": Method(chain=("selena",)),
    "DP-SGD, little noise": Method(chain=("dp_sgd",), fixed={"delta": 1e-5, "heuristic": True}, choices=LITTLE),
    "DP-SGD, ε = 8": _private(epsilon=8.0),
    "DP-SGD, ε = 4": _private(epsilon=4.0),
    "DP-SGD, ε = 1": _private(epsilon=1.0),
}

"""Candidates with figures of one's choice, for what follows from them."""

import numpy as np

from vestige.log import TprPoint
from vestige.log_parts import Figure
from vestige.tradeoff.parts import Exposed, Utility
from vestige.tradeoff.results import TradeoffLog, TradeoffPoint, TradeoffResult

FPR = 0.01


def result(name, value, half=0.01, exposed=None, status="ok"):
    def at(v):
        return [TprPoint(fpr=FPR, value=v, low=max(v - half, 0), high=min(v + half, 1))]

    if status != "ok":
        return TradeoffResult(attack=name, name=name, status=status, reason="cannot")
    return TradeoffResult(attack=name, name=name, tpr=at(value), exposed=[] if exposed is None else at(exposed))


def candidate(id, method, accuracy, leaks, *, half=0.01, seconds=1.0, exposed=None, settings=None, **changes):
    """``leaks``: attack by attack, the TPR."""
    told = {
        "id": id,
        "method": method,
        "settings": settings or {},
        "status": "complete",
        "members": 1000,
        "nonmembers": 1000,
        "shadows": 16,
        "targets": 2,
        "utility": Utility(
            accuracy=Figure(value=accuracy, low=accuracy - half, high=accuracy + half),
            balanced=Figure(value=accuracy, low=accuracy - half, high=accuracy + half),
            models=17,
            parts=list(accuracy + 0.001 * np.cos(np.arange(40))),
            between=1e-7,
        ),
        "most_exposed": Exposed(records=50),
        "seconds": seconds,
        "results": [result(name, value, exposed=exposed) for name, value in leaks.items()],
    }
    return TradeoffPoint(**{**told, **changes})


def log_of(*points):
    return TradeoffLog(name="fake", chance=0.1, points=list(points), config={"data": {"source": "digits"}})


def usual():
    return log_of(
        candidate("000-undefended", "undefended", 0.9, {"loss": 0.1, "lira": 0.4}, exposed=0.9),
        candidate("001-weak", "weak", 0.895, {"loss": 0.08, "lira": 0.2}, seconds=2.0, exposed=0.6),
        candidate("002-strong", "strong", 0.8, {"loss": 0.02, "lira": 0.03}, seconds=30.0, exposed=0.05),
        candidate("003-silly", "silly", 0.7, {"loss": 0.5, "lira": 0.5}, exposed=0.9),
        TradeoffPoint(id="004-odd", method="odd", status="refused", reason="it works for no such recipe"),
    )

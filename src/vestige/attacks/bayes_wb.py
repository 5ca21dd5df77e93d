"""Bayes white box: how far the target's weights stand towards a record, compared with proxies' weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.learned import calibrated, draw_rows, fit
from vestige.errors import UsageError
from vestige.records import Task
from vestige.signals.base import key_of
from vestige.signals.internal.displacement import Data, Displacement
from vestige.target import Access, FloatArray

Combination = Literal["learned", "sum", "last"]
Form = Literal["odds", "logit"]
FEWEST = 24
HELD_OUT = 4


@dataclass(frozen=True, kw_only=True)
class BayesWB:
    """Member if the target's weights are displaced towards the record, away from those of proxies trained without it.

    Score (N,): the log-odds of membership under Gaussian classes; larger = more likely a member. By ``combination``: of
    the last linear layer (``last``), summed over the layers (``sum``), or combined by a logistic model that shadow
    models taught (``learned``), from ``rows`` members and as many others at most. The adversary needs the weights, the
    recipe, and records to train proxies on. ``layers``: how many of the last linear layers are trained again;
    ``proxies``: how many times; ``data``: on the training sets of shadow models (``references``) or on held-out records
    (``spare``). ``form``: what is compared where nothing is learnt, the paper's ``logit`` (centred over classes) or the
    log-odds (``odds``), which for more than two classes say more. See the signal `Displacement`.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    paper: ClassVar[str] = (
        "Leino & Fredrikson, Stolen memories: leveraging model memorization for calibrated white-box membership "
        "inference, USENIX Security 2020, sections 4 and 5"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    combination: Combination = "learned"
    layers: int = 2
    proxies: int = 10
    data: Data = "references"
    form: Form = "odds"
    rows: int = 10_000

    def __post_init__(self) -> None:
        Displacement(layers=self.layers, proxies=self.proxies, data=self.data)
        if self.combination not in get_args(Combination):
            raise UsageError(
                f"Expected combination to be {', '.join(get_args(Combination))}, got '{self.combination}'."
            )
        if self.form not in get_args(Form):
            raise UsageError(f"Expected form to be {' or '.join(get_args(Form))}, got '{self.form}'.")
        if self.rows < 1:
            raise UsageError(f"Expected at least one row, got {self.rows}.")

    @property
    def key(self) -> str:
        """The signal it reads."""
        return key_of("displacement", {"data": self.data, "layers": self.layers, "proxies": self.proxies})

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records, through what was learnt from them."""
        return self.combination == "learned"

    @property
    def trains(self) -> bool:
        """Whether it trains a model of its own."""
        return self.combination == "learned"

    @property
    def needs(self) -> Needs:
        """The displacements; and those of shadow models to learn from."""
        if self.combination != "learned":
            return Needs(signals=(self.key,))
        return Needs(signals=(self.key,), shadows=1, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) log-odds, larger = more likely a member."""
        return self.transfer(evidence, evidence)

    def transfer(self, known: Evidence, evidence: Evidence) -> FloatArray:
        """Return (N,) scores of ``evidence``, learning from the shadow models of ``known``."""
        own = evidence.target(self.key)[:, 0].reshape(len(evidence), -1).astype(np.float64)
        layers = own[:, 1::2] if self.form == "odds" else own[:, ::2]
        total: FloatArray = layers.sum(axis=1)
        if self.combination != "learned":
            return layers[:, 0] if self.combination == "last" else total
        rows = draw_rows(known, self.key, per_side=self.rows, by_class=False)
        if len(rows) < 2 * FEWEST:
            return total
        held_out = np.arange(len(rows)) % HELD_OUT == HELD_OUT - 1  # sides stand one after the other
        return calibrated(fit("logistic", rows.pick(~held_out), known.seed), rows.pick(held_out))(own)

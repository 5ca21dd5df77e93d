"""Cut evidence out of a signal table: what one adversary may see, for one model in the target's place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vestige.attacks.base import Attack, Evidence
from vestige.attacks.priors import imagined_prior
from vestige.records import Records
from vestige.seeds import rng
from vestige.signals.base import SignalTable
from vestige.signals.predicted import CLASS
from vestige.split import Split
from vestige.target import Access, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Field:
    """Where the evidence is cut from: a table of every model over the audited records, then the held-out ones.

    ``blind``: the adversary lacks the true labels and takes the class that the attacked model names for them.
    """

    records: Records
    split: Split
    table: SignalTable
    access: Access
    seed: int
    blind: bool = False

    @property
    def rows(self) -> IntArray:
        """The table's rows: audited records first, then the population."""
        return np.concatenate([self.split.audited, self.split.population])

    @property
    def audited(self) -> int:
        """How many records are scored."""
        return len(self.split.audited)

    def membership(self, model: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return the truth that scores are judged by: (N,) bool. No attack ever sees it for the model it attacks."""
        truth: np.ndarray[tuple[int], np.dtype[np.bool_]] = self.split.masks[model, self.split.audited]
        return truth

    def references(self, model: int, attack: Attack, exclude: int | None = None) -> IntArray:
        """Return the shadow models the attack may use on ``model``: none of its block, nor of ``exclude``'s.

        An attack made of ``parts`` may use those of any part.
        """
        parts: tuple[Attack, ...] = getattr(attack, "parts", ())
        if parts:
            every = [self.references(model, part, exclude) for part in parts]
            return np.unique(np.concatenate([*every, self._showing(model, attack, exclude)]))
        needs = attack.needs
        if needs.side == "none":
            return np.empty(0, np.int64)
        chosen = self._showing(model, attack, exclude)
        return chosen if needs.wants is None else chosen[: needs.wants]

    def _showing(self, model: int, attack: Attack, exclude: int | None) -> IntArray:
        """Return the references of ``model`` on which everything that the attack reads was measured."""
        chosen = self.split.references(model)
        if exclude is not None:
            chosen = chosen[self.split.blocks[chosen] != self.split.blocks[exclude]]
        for key in attack.needs.signals:
            chosen = chosen[np.isin(chosen, self.table.measured(key))]
        return chosen

    def shows(self, model: int, attack: Attack) -> bool:
        """Whether everything that the attack reads was measured on this model."""
        return all(self.table.has(key, model) for key in attack.needs.signals)

    def evidence(self, model: int, attack: Attack, exclude: int | None = None) -> Evidence:
        """Return everything the attack may see when ``model`` is the target, and ``exclude``'s block is left out
        too.
        """
        references = self.references(model, attack, exclude)
        return self._cut(model, references, attack, 0, self.audited, self._population(model, references, attack))

    def _population(self, model: int, references: IntArray, attack: Attack) -> Evidence | None:
        held_out = len(self.split.population)
        if not held_out:
            return None
        return self._cut(model, references, attack, self.audited, self.audited + held_out, None)

    def _cut(
        self, model: int, references: IntArray, attack: Attack, start: int, stop: int, population: Evidence | None
    ) -> Evidence:
        table = self.table.slice(start, stop)
        rows = self.rows[start:stop]
        return Evidence(
            access=self.access,
            needs=attack.needs,
            labels=table.model(CLASS, model)[:, 0].astype(np.int64) if self.blind else self.records.y[rows],
            classes=len(self.records.classes),
            own=table.select(np.array([model])),
            shadows=table.select(references),
            masks=self.split.masks[np.ix_(references, rows)],
            features=self._features(rows) if attack.needs.features else None,
            population=population,
            seed=self.seed,
            block=self.split.blocks[references],
            prior=self._prior(model, rows, start) if attack.needs.prior else None,
        )

    def _prior(self, model: int, rows: IntArray, start: int) -> FloatArray | None:
        """Return what is known of the target's members from elsewhere; of a shadow model's, as much."""
        known = self.records.prior
        if known is None or model == 0:
            return None if known is None else known[rows]
        draw = rng(self.seed, "prior", model, start)
        return imagined_prior(known[self.split.audited], self.split.masks[model, rows], draw)

    def _features(self, rows: IntArray) -> FloatArray:
        return self.records.take(rows).matrix()

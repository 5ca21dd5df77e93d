"""HAMP's serving half: the ranking of the classes is the model's, and the scores are those of another input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vestige.defend.base import Named, Serving, Stage, Trait, Unfitted, probabilities
from vestige.defend.blocks import spans
from vestige.defend.tickets import Tickets
from vestige.errors import ConfigError, ModelError, UsageError
from vestige.privacy_claim import Guarantee
from vestige.seeds import rng
from vestige.target import Access, Outputs


@dataclass(frozen=True, kw_only=True)
class RankRelease(Unfitted):
    """Answers the classes in the model's own order, with the sorted scores of an input that was drawn at random.

    ``samples``: how many random inputs the model is asked about beforehand; every query is given the scores of one of
    them by its ticket, the same one every time. Their features are drawn one by one between the least and the greatest
    of all records, or among the values of columns that are no numbers; those ranges are taken to be public. The order
    of the classes stays, equal scores by class, and the scores say nothing of the query. Of privacy nothing is
    guaranteed: attacks on labels and ranks see as much as before. Chen & Pattabiraman 2024, "Overconfidence is a
    Dangerous Thing: Mitigating Membership Inference Attacks by Enforcing Less Confident Prediction", NDSS, section IV.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.KEEPS_LABEL})
    adaptive: ClassVar[tuple[Named, ...]] = ("gap", "noise")
    reserve: ClassVar[bool] = False
    stage: ClassVar[Stage] = Stage.RESHAPING
    paper: ClassVar[str] = "Chen & Pattabiraman 2024"
    assumes: ClassVar[tuple[str, ...]] = ("rank_release: the ranges and values of the features are public",)

    samples: int = 1_000

    def __post_init__(self) -> None:
        if isinstance(self.samples, bool) or self.samples != int(self.samples) or self.samples < 1:
            raise ConfigError(f"Expected samples to be a whole number of at least 1, got {self.samples!r}.")

    def prepare(self, serving: Serving) -> RankedAnswers:
        """Ask the model about random inputs."""
        if not len(serving.records):
            raise UsageError(
                "rank_release draws inputs like those that the model knows, and was given none.",
                hint="Pass members=… or others=…, a batch of features.",
            )
        draw = rng(serving.seed, "rank_release")
        x = random_inputs(serving.records.x, self.samples, draw)
        return RankedAnswers(np.sort(probabilities(serving.target.query(x, Access.SCORE)), axis=1)[:, ::-1].copy())

    def restore(self, state: dict[str, NDArray[Any]]) -> RankedAnswers:
        """Return the fitted defence whose state this is."""
        return RankedAnswers(np.asarray(state["scores"], np.float64))


class RankedAnswers:
    """The defence fitted to one model; ``scores``: (samples, C), each row falling."""

    def __init__(self, scores: NDArray[np.float64]) -> None:
        self.scores = scores

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the scores of the random inputs."""
        return {"scores": self.scores}

    def apply(self, outputs: Outputs, tickets: Tickets) -> Outputs:
        """Give every class the score of its rank."""
        if outputs.kind not in ("logits", "probabilities"):
            raise ModelError(
                f"rank_release needs scores to rank, and the model answers {outputs.kind}.", hint="Remove the defence."
            )
        values = outputs.values
        drawn = (tickets.uniform(1, "rank_release")[:, 0] * len(self.scores)).astype(np.int64)
        found = np.empty(values.shape)
        if self.scores.shape[1] != values.shape[1]:
            raise ModelError(
                f"rank_release was fitted to {self.scores.shape[1]} classes, and this answer has {values.shape[1]}.",
                hint="Fit it to the model that it stands in front of.",
            )
        for span in spans(values):
            order = falling(values[span])
            given = self.scores[drawn[span]]
            block = found[span]
            block[np.arange(len(order))[:, None], order] = given
            # Where the largest of the given scores tie, the predicted class must still come first.
            lost = np.flatnonzero(block.argmax(1) != order[:, 0])
            block[lost, order[lost, 0]] = np.nextafter(given[lost, 0], np.inf)
        return Outputs("probabilities", found)


def falling(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return (R, C) the classes of each row from the largest to the smallest, equal ones in their own order.

    What a stable sort finds, faster: each score's single-precision bits and its column are sorted as one whole number.
    """
    narrow = np.ascontiguousarray(values, np.float32) + np.float32(0)
    bits = narrow.view(np.uint32)
    # Of two positive floats the larger has the larger bits; of two negative ones the smaller.
    rising = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))
    keys = (~rising).astype(np.uint64) << np.uint64(32) | np.arange(values.shape[1], dtype=np.uint64)
    order = (np.sort(keys, axis=1) & np.uint64(0xFFFFFFFF)).astype(np.int64)
    if values.dtype != np.float32:
        sorted_values = np.take_along_axis(values, order, 1)
        same = np.diff(np.take_along_axis(narrow, order, 1), axis=1) == 0
        blurred = (same & (np.diff(sorted_values, axis=1) != 0)).any(1)
        order[blurred] = np.argsort(-values[blurred], axis=1, kind="stable")
    return order


def random_inputs(x: Any, count: int, draw: np.random.Generator) -> Any:
    """Return ``count`` inputs like ``x``, every feature drawn by itself."""
    if hasattr(x, "iloc"):
        columns = {name: _column(x[name].to_numpy(), count, draw) for name in x.columns}
        return type(x)(columns).astype(dict(x.dtypes))
    flat = np.asarray(x).reshape(len(x), -1)
    low, high = flat.min(0), flat.max(0)
    if flat.dtype.kind in "biu" or bool((flat == np.rint(flat)).all()):
        drawn = draw.integers(low.astype(np.int64), high.astype(np.int64) + 1, (count, flat.shape[1]))
    else:
        drawn = low + (high - low) * draw.random((count, flat.shape[1]))
    return drawn.astype(flat.dtype).reshape(count, *np.shape(x)[1:])


def _column(values: NDArray[Any], count: int, draw: np.random.Generator) -> NDArray[Any]:
    if values.dtype.kind == "f":
        return np.asarray(np.nanmin(values) + (np.nanmax(values) - np.nanmin(values)) * draw.random(count))
    seen = sorted({one for one in values.tolist() if one == one and one is not None}, key=repr)
    return np.array([seen[k] for k in draw.integers(0, len(seen), count)], values.dtype)

"""Decisions: whether each of a few variants of a record still gets its true label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from scipy import ndimage

from vestige.errors import UsageError
from vestige.records import Records
from vestige.seeds import rng
from vestige.signals.base import Setting
from vestige.target import Access, FloatArray, IntArray, Target

Kind = Literal["auto", "rotation", "translation", "flip", "imputation"]
KINDS = ("auto", "rotation", "translation", "flip", "imputation")


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """(R, Q) ones where a variant of a record gets its true label; the first variant is the record itself.

    ``rotation``: by ±1 … ±``reach`` steps of ``degrees``; ``translation``: all shifts of ``reach`` pixels in all, four
    a pixel; ``flip``: left to right; ``imputation``: ``reach`` variants with a tenth of the features taken from other
    records; ``auto``: translation for images, imputation otherwise. Choquette-Choo, Tramèr, Carlini & Papernot 2021,
    "Label-Only Membership Inference Attacks", arXiv:2007.14321, §4.1.
    """

    access: ClassVar[Access] = Access.LABEL
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    kind: Kind = "auto"
    reach: int | None = None
    degrees: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"Expected kind to be one of {', '.join(KINDS)}, got '{self.kind}'.")
        if self.reach is not None and self.reach < 1:
            raise UsageError(f"Expected reach to be at least 1, got {self.reach}.")

    @property
    def asks(self) -> str:
        """How many labels a record takes."""
        if self.kind != "auto":
            return f"{len(self.variants(self.kind))}"
        return f"{len(self.variants('translation'))} on images, {len(self.variants('imputation'))} on others"

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Ask about every variant."""
        records, rows = setting.records, setting.rows
        x, y = records.rows_of(rows), np.asarray(records.y[rows])
        kind = self.kind
        image = not hasattr(x, "columns") and np.asarray(x).ndim >= 3
        if kind == "auto":
            kind = "translation" if image else "imputation"
        if kind != "imputation" and not image:
            raise UsageError(f"The augmentation '{kind}' needs images, and these records are rows of features.")
        count = len(self.variants(kind))
        if setting.budget is not None and count > setting.budget:
            raise UsageError(f"{count} variants a record are more than the budget of {setting.budget} queries.")
        found = np.empty((len(rows), count))
        for place, variant in enumerate(self.variants(kind)):
            changed = x if variant == (0, 0) else self._varied(kind, records, x, rows, variant, setting)
            found[:, place] = np.asarray(target.query(changed, Access.LABEL).values) == y
        return found

    def variants(self, kind: Kind) -> list[tuple[int, int]]:
        """Return what distinguishes the variants, the plain record first."""
        if kind == "flip":
            return [(0, 0), (1, 0)]
        if kind == "rotation":
            reach = self.reach or 9
            return [(0, 0), *((step, 0) for k in range(1, reach + 1) for step in (k, -k))]
        if kind == "imputation":
            return [(0, 0), *((k, 0) for k in range(1, (self.reach or 16) + 1))]
        reach = self.reach or 1
        around = range(-reach, reach + 1)
        return [(0, 0), *((dy, dx) for dy in around for dx in around if abs(dy) + abs(dx) == reach)]

    def _varied(
        self, kind: Kind, records: Records, x: Any, rows: IntArray, variant: tuple[int, int], setting: Setting
    ) -> Any:
        if kind == "imputation":
            return imputed(records, x, rows, rng(setting.seed, "imputation", variant[0]))
        images = np.asarray(x)
        if kind == "flip":
            return images[:, :, ::-1].copy()
        if kind == "rotation":
            turned = ndimage.rotate(
                images.astype(np.float32), variant[0] * self.degrees, axes=(2, 1), reshape=False, order=1
            )
            return _like(turned, images)
        shift = (0, *variant, *(0,) * (images.ndim - 3))
        return ndimage.shift(images, shift, order=0, mode="nearest")


def _like(values: Any, images: Any) -> Any:
    return np.rint(values).astype(images.dtype) if images.dtype.kind in "iu" else values.astype(images.dtype)


def imputed(records: Records, x: Any, rows: IntArray, draw: np.random.Generator, share: float = 0.1) -> Any:
    """Return records with a random ``share`` of their features taken from other records of the pool."""
    size, total = int(rows.max(initial=0)) + 1, len(records)
    if hasattr(x, "columns"):
        changed = x.copy()
        for name in x.columns:
            struck = (draw.random(size) < share)[rows]
            donors = draw.integers(0, total, size)[rows]
            column = changed[name].copy()
            column[struck] = records.x[name].to_numpy()[donors[struck]]
            changed[name] = column
        return changed
    pool = np.asarray(records.x)
    struck = (draw.random((size, *pool.shape[1:]), np.float32) < share)[rows]
    donors = draw.integers(0, total, size)[rows]
    return np.where(struck, pool[donors], x)

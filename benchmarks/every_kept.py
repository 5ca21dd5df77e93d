"""Scores of every attack in a folder, one file for each attack and seed, so that a long sitting can be broken off."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from every_verdicts import Target

FACTS = ("kind", "title", "name", "seed", "queries", "seconds", "reason")


def keep(folder: Path | None, dataset: str, seed: int, targets: list[Target]) -> None:
    """Write one attack's scores of every model that took the target's place."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    first = targets[0]
    place, models = _place(folder, dataset, seed, first.title), np.array([one.model for one in targets])
    scores, truth = (np.stack([getattr(one, name) for one in targets]) for name in ("scores", "truth"))
    facts = json.dumps({name: getattr(first, name) for name in FACTS})
    half = place.with_suffix(".half.npz")
    np.savez(half, facts=np.array(facts), models=models, scores=scores, truth=truth, some=first.some)
    half.replace(place)


def kept(folder: Path | None, dataset: str, seed: int, title: str) -> list[Target] | None:
    """Return what an earlier sitting found, or None."""
    if folder is None or not _place(folder, dataset, seed, title).exists():
        return None
    with np.load(_place(folder, dataset, seed, title), allow_pickle=False) as held:
        facts = json.loads(str(held["facts"]))
        parts = held["models"], held["scores"], held["truth"]
        return [
            Target(**facts, model=int(model), scores=scores, truth=truth, some=held["some"])
            for model, scores, truth in zip(*parts, strict=True)
        ]


def spent(folder: Path | None, dataset: str, seed: int, more: dict[str, float] | None = None) -> dict[str, float]:
    """Return the seconds that a pool took in earlier sittings; ``more``: what to write down as all of them."""
    place = None if folder is None else folder / f"{dataset}-{seed}.json"
    if place is not None and more is not None:
        place.write_text(json.dumps(more), encoding="utf-8")
    known = place is not None and place.exists()
    found: dict[str, float] = json.loads(place.read_text(encoding="utf-8")) if place is not None and known else {}
    return {"seconds": 0.0, "training": 0.0} | found


def _place(folder: Path, dataset: str, seed: int, title: str) -> Path:
    return folder / f"{dataset}-{seed}-{re.sub('[^a-z0-9]+', '_', title.lower()).strip('_')}.npz"

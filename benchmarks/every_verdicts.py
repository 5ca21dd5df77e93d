"""What is made of every attack's scores: figures over targets, and which attack stands above which.

An ordering is judged by differences on the same records of the same targets: it holds when the mean difference may be
zero or more as far as its 95 % interval can tell, and holds clearly when the interval says so. Errors that targets
share because they are judged on the same records are taken to be shared in full.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np
import torch

from pools import model_of
from vestige.attacks import resolve
from vestige.attacks.assemble import Field
from vestige.auditing.protocol import run, stand_ins
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.metrics import (
    Estimate,
    Judged,
    Roc,
    area,
    auc,
    best_threshold,
    judged,
    mean_over_targets,
    paired_auc,
    paired_tpr,
    roc,
    tprs_at,
)
from vestige.metrics.targets import record_variances
from vestige.probing import probe_keys, probe_pool
from vestige.shadow import Demand, gather
from vestige.signals.internal.modules import Reader
from vestige.store import Store
from vestige.target import Access, BoolArray, FloatArray, IntArray

RATES = (0.01, 0.001)
NAMES = ("auc", "tpr@0.01", "tpr@0.001")
DECIDED = "decision"
SMALL = {"digits": 400, "location30": 800}
NONE: IntArray = np.empty(0, np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """One attack's scores of one model, or why there are none. ``some``: those that every kind of attack judged."""

    kind: str
    title: str
    name: str
    seed: int
    model: int = 0
    scores: FloatArray = field(default_factory=lambda: np.empty(0))
    truth: BoolArray = field(default_factory=lambda: np.empty(0, np.bool_))
    some: IntArray = field(default_factory=lambda: NONE)
    queries: str = ""
    seconds: float = 0.0
    reason: str = ""

    @property
    def whole(self) -> Judged:
        """All records that the attack judged."""
        return judged(self.scores, self.truth)

    @property
    def part(self) -> Judged:
        """The records that attacks of every kind judged."""
        return judged(self.scores[self.some], self.truth[self.some])

    @property
    def shown(self) -> str:
        """A line for the log of the command."""
        return self.reason or f"AUC {area(self.whole.curve):.3f}, {self.seconds:.1f} s"


def orderings(targets: Sequence[Target]) -> dict[str, Any]:
    """Return every attack's figures, those that did not run, and the verdicts on the orderings asked for."""
    ran: dict[str, list[Target]] = {}
    for one in targets:
        if not one.reason:
            ran.setdefault(one.title, []).append(one)
    rows = [{"title": title, **_row(group)} for title, group in ran.items()]
    lost = sorted({f"{one.title} ({one.reason})" for one in targets if one.reason})
    return {"rows": rows, "lost": lost, "orderings": _verdicts(ran)}


def _row(group: Sequence[Target]) -> dict[str, Any]:
    first = group[0]
    seeds = sorted({one.seed for one in group})
    estimates = []
    for seed in seeds:
        own = [one for one in group if one.seed == seed]
        curves = [one.whole.curve for one in own]
        each = [[auc(curve), *tprs_at(curve, RATES)] for curve in curves]
        noise = record_variances([one.scores for one in own], [one.truth for one in own], _statistics)
        estimates.append([
            mean_over_targets([row[k] for row in each], record_variance=float(noise[k])).mean for k in range(3)
        ])  # fmt: skip
    found: dict[str, Any] = {}
    for k, name in enumerate(NAMES):
        total = mean_over_targets([row[k] for row in estimates]).mean
        values = [v for one in group if (v := _figures(one.whole)[k]) is not None]
        found[name] = {
            "median": median(values) if len(values) == len(group) else None,
            "mean": total.value, "low": total.low, "high": total.high, "reason": total.reason,
        }  # fmt: skip
    return {
        "kind": first.kind, "name": first.name, "queries": first.queries, "records": len(first.scores),
        "targets": len(group), "seconds": median(one.seconds for one in group), "figures": found,
    }  # fmt: skip


def _statistics(curve: Roc) -> list[float]:
    return [area(curve), *(float(curve.tpr[curve.vertex_at(rate)]) for rate in RATES)]


def _figures(one: Judged) -> list[float | None]:
    return [area(one.curve), *(point.value for point in tprs_at(one.curve, RATES))]


def _verdicts(ran: dict[str, list[Target]]) -> list[dict[str, Any]]:
    """Return the orderings asked for; the best of a kind is the one of the largest mean AUC on the records compared."""
    access = {title: _access(group) for title, group in ran.items()}
    best = {kind: _best([ran[t] for t in ran if access[t] == kind]) for kind in ("label", "score", "white_box")}
    pairs = [
        ("best score attack", best["score"], "best white-box attack", best["white_box"], (0, 1), False),
        ("best label-only attack", best["label"], "best score attack", best["score"], (0, 1), True),
        ("best label-only attack", best["label"], "best white-box attack", best["white_box"], (0, 1), True),
        ("", "loss", "", "seqmia", (2,), False),
        ("", "trajectory", "", "seqmia", (0, 1, 2), False),
        ("", _titled(ran, "trajectory[snapshots"), "", _titled(ran, "seqmia[snapshots"), (0, 1, 2), False),
        ("", "gap", "", "boundary", (0,), True),
        ("", "gap", "", "noise", (0,), True),
    ]
    found = []
    for low_role, low, high_role, high, figures, part in pairs:
        if low not in ran or high not in ran:
            continue
        roles = {"roles": [low_role, high_role]}
        found += [compare(ran[low], ran[high], k, part=part) | roles for k in figures]
    if "gap" in ran:
        low = decided(ran["gap"])
        found += [
            compare(low, decided(ran[high]), 0, part=True) | {"roles": ["", ""], "figure": DECIDED}
            for high in ("boundary", "noise")
            if high in ran
        ]
    return found


def decided(group: Sequence[Target]) -> list[Target]:
    """Return the attack's decisions in place of its scores, by the threshold that is best on the seed's other models.

    The AUC of a decision is its balanced accuracy.
    """
    found = []
    for one in group:
        others = [other for other in group if other.seed == one.seed and other.model != one.model] or [one]
        scores, truth = (np.concatenate([getattr(other, name) for other in others]) for name in ("scores", "truth"))
        known = roc(scores[truth], scores[~truth])
        found.append(replace(one, scores=(one.scores > best_threshold(known)[0]).astype(np.float64)))
    return found


def _access(group: Sequence[Target]) -> str:
    kinds = {"label-only": "label", "score": "score", "white-box": "white_box"}
    return kinds.get(group[0].kind, "white_box" if "snapshots" in group[0].title else "score")


def _best(groups: Sequence[list[Target]]) -> str:
    return max(groups, key=lambda group: np.mean([area(one.part.curve) for one in group]))[0].title if groups else ""


def _titled(ran: dict[str, list[Target]], start: str) -> str:
    return next((title for title in ran if title.startswith(start)), "")


def compare(low: Sequence[Target], high: Sequence[Target], k: int, *, part: bool = False) -> dict[str, Any]:
    """Return the mean difference of one figure, the stronger attack's less the weaker's, and what it says."""
    partner = {(one.seed, one.model): one for one in high}
    per_seed: dict[int, list[Estimate]] = {}
    for one in low:
        other = partner.get((one.seed, one.model))
        if other is None:
            continue
        a, b = (one.part, other.part) if part else (one.whole, other.whole)
        gap = paired_auc(a, b) if k == 0 else paired_tpr(a, b, RATES[k - 1])
        per_seed.setdefault(one.seed, []).append(gap)
    means = [_together(gaps) for gaps in per_seed.values()]
    total = mean_over_targets(means, bounds=(-1.0, 1.0)).mean
    verdict = "withheld"
    if total.value is not None and total.low is not None and total.high is not None:
        holds, clearly = total.high >= 0, total.low >= 0
        above = "holds" if total.value >= 0 else "holds within the interval"
        verdict = "DOES NOT HOLD" if not holds else "holds clearly" if clearly and total.value > 0 else above
    return {
        "weaker": low[0].title, "stronger": high[0].title, "figure": NAMES[k], "gap": total.value, "low": total.low,
        "high": total.high, "verdict": verdict, "reason": total.reason, "targets": sum(map(len, per_seed.values())),
        "records": len(low[0].some) if part else len(low[0].scores),
    }  # fmt: skip


def _together(gaps: Sequence[Estimate]) -> Estimate:
    """Return the mean over targets that share their records, with all of one target's variance as shared."""
    widths = [one.half_width for one in gaps if one.half_width is not None]
    shared = float(np.mean([(width / 1.96) ** 2 for width in widths])) if widths else 0.0
    return mean_over_targets(list(gaps), bounds=(-1.0, 1.0), record_variance=shared).mean


def identities(audit: Audit, pool: Field, count: int = 256) -> float:
    """Return by how much the last weights' gradients, from their two factors, differ in length from full gradients.

    The largest relative difference over some records of the target, all in double precision.
    """
    owner: Any = model_of(audit, pool.split, 0).target
    rows = pool.split.audited[:count]
    x, y = owner.prepared(pool.records.rows_of(rows)).double(), np.asarray(pool.records.y[rows], np.int64)
    module = copy.deepcopy(owner.module).double().eval()
    found = Reader(module).read(x, y)
    product = np.linalg.norm(found.residual, axis=1) * np.linalg.norm(found.hidden, axis=1)
    weight = [m for m in module.modules() if isinstance(m, torch.nn.Linear)][-1].weight.requires_grad_()
    full = []
    for k in range(len(x)):
        loss = torch.nn.functional.cross_entropy(module(x[k : k + 1]), torch.from_numpy(y[k : k + 1]))
        full.append(float(torch.autograd.grad(loss, weight)[0].norm()))
    # Of a record that the model is sure of to the last bit the full gradient is rounded to nothing, and says nothing.
    sure = np.array(full) > 1e-8
    return float(np.abs(product[sure] / np.array(full)[sure] - 1).max())


def small_data(seeds: Sequence[int], store: Store) -> list[dict[str, Any]]:
    """Return whether weights say more than the loss of a logistic regression of few records."""
    return [
        compare(*_small(dataset, limit, seeds, store), 0) | {"dataset": dataset} for dataset, limit in SMALL.items()
    ]


def _small(dataset: str, limit: int, seeds: Sequence[int], store: Store) -> tuple[list[Target], list[Target]]:
    groups: dict[str, list[Target]] = {"loss": [], "bayes_wb": []}
    attacks = resolve(list(groups), access="white_box")
    for seed in seeds:
        config = AuditConfig.model_validate({
            "name": f"{dataset}-small", "seed": seed, "data": {"source": dataset, "limit": limit, "population": 0.2},
            "recipe": {"kind": "sklearn", "model": "sklearn.linear_model:LogisticRegression",
                       "params": {"C": 100.0, "max_iter": 1000}},
            "shadow": {"count": 16}, "audit": {"targets": 3, "access": "white_box", "attacks": ["loss"]},
        })  # fmt: skip
        audit = replace_store(Audit.from_config(config), store)
        split, recipe, records = audit.split(), audit.target_recipe(), audit.inputs.records
        rows = np.concatenate([split.audited, split.population])
        table = gather(split, recipe, records, Demand(keys=("loss",), rows=rows, seed=seed), store).signals
        pool = Field(records=records, split=split, table=table, access=Access.WHITE_BOX, seed=seed)
        models = stand_ins(pool, 3)
        keys = probe_keys(tuple(dict.fromkeys(key for _, attack in attacks for key in attack.needs.signals)))
        table = probe_pool(table, keys, [0, *models], split, recipe, records, store, seed=seed)
        pool = Field(records=records, split=split, table=table, access=Access.WHITE_BOX, seed=seed)
        for title, attack in attacks:
            found = run(pool, attack, models[:2], reported=2)
            for model, scores in zip((0, *found.models), (found.target, *found.stand_ins), strict=True):
                truth = pool.membership(model)
                groups[title].append(Target(
                    kind="small", title=title, name=title, seed=seed, model=model, scores=scores, truth=truth,
                    some=np.arange(len(scores)),
                ))  # fmt: skip
    return groups["loss"], groups["bayes_wb"]


def replace_store(audit: Audit, store: Store) -> Audit:
    """Return the audit with this store."""
    return Audit(inputs=audit.inputs, config=audit.config, store=store)

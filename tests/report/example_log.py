"""A log with every part filled in, drawn from a known law, for the renderers' tests."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from vestige.log import (
    AttackResult,
    AuditLog,
    Check,
    Checked,
    Cost,
    Curve,
    Epsilon,
    Figure,
    Finding,
    Histogram,
    Operational,
    PerTarget,
    Population,
    RecordRisk,
    Risk,
    Seconds,
    ShadowFacts,
    Slice,
    TargetFacts,
    TprPoint,
)
from vestige.seeds import rng

MEMBERS = NONMEMBERS = 2000
RATES = (0.0001, 0.001, 0.01)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share."""
    z, p = 1.959964, successes / n
    centre, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))


def share(successes: float, n: int) -> Figure:
    low, high = wilson(successes, n)
    return Figure(value=successes / n, low=low, high=high, method="wilson")


def curve(members: np.ndarray, nonmembers: np.ndarray) -> Curve:
    thresholds = np.unique(np.quantile(nonmembers, 1 - np.geomspace(1 / nonmembers.size, 1, 90)))[::-1]
    fpr = [0.0, *(float((nonmembers >= t).mean()) for t in thresholds), 1.0]
    tpr = [float((members > nonmembers.max()).mean()), *(float((members >= t).mean()) for t in thresholds), 1.0]
    band = [wilson(p * members.size, members.size) for p in tpr]
    return Curve(fpr=fpr, tpr=tpr, low=[b[0] for b in band], high=[b[1] for b in band])


def histogram(members: np.ndarray, nonmembers: np.ndarray) -> Histogram:
    edges = np.linspace(min(members.min(), nonmembers.min()), max(members.max(), nonmembers.max()), 41)
    counts = [np.histogram(scores, edges)[0] / scores.size for scores in (members, nonmembers)]
    return Histogram(edges=edges.tolist(), members=counts[0].tolist(), nonmembers=counts[1].tolist())


def attack(name: str, strength: float, tail: float, seconds: float, shadows: int = 64, **fields: Any) -> AttackResult:
    """One result; members' scores are shifted by ``strength`` and, for one record in three, by ``tail`` more."""
    random = rng(0, "example", name)
    nonmembers = random.normal(size=NONMEMBERS)
    members = (
        random.normal(size=MEMBERS)
        + strength
        + tail * random.gamma(1.0, 1.0, MEMBERS) * (random.random(MEMBERS) < 0.34)
    )
    auc = float((members[:, None] > nonmembers[None]).mean())
    half = 1.96 * math.sqrt(auc * (1 - auc) / MEMBERS) * 1.1
    points = []
    for rate in RATES:
        if rate * NONMEMBERS < 1:
            reason = f"the {NONMEMBERS:,} non-members cannot resolve a rate of {100 * rate:g} %: 10,000 are needed"
            points.append(TprPoint(fpr=rate, reason=reason))
            continue
        threshold = np.quantile(nonmembers, 1 - rate)
        points.append(TprPoint(fpr=rate, **share(float((members > threshold).sum()), MEMBERS).model_dump()))
    middle = (members.mean() + nonmembers.mean()) / 2
    usable = [
        Operational(
            fpr_asked=rate,
            fpr=share(float((nonmembers > np.quantile(nonmembers, 1 - 1.2 * rate)).sum()), NONMEMBERS),
            tpr=share(float((members > np.quantile(nonmembers, 1 - 1.2 * rate)).sum()), MEMBERS),
        )
        for rate in RATES[1:]
    ]
    correct = float((members > middle).sum() + (nonmembers <= middle).sum())
    return AttackResult(
        name=name,
        auc=Figure(value=auc, low=auc - half, high=auc + half, method="delong"),
        balanced_accuracy=share(correct, MEMBERS + NONMEMBERS),
        tpr=points,
        operational=usable[-1],
        operating_points=usable,
        shadow_models=shadows,
        seconds=seconds,
        targets=[PerTarget(target=t, auc=auc + random.normal() * 0.006, tpr=[None, 0.05, 0.2]) for t in range(8)],
        between_target_sd=0.0061,
        distinct_scores=MEMBERS + NONMEMBERS,
        roc=curve(members, nonmembers),
        histogram=histogram(members, nonmembers),
        **fields,
    )


def risk() -> Risk:
    random = rng(0, "example", "risk")
    slices = []
    for label in range(30):
        n, auc = int(random.integers(40, 100)), float(np.clip(random.normal(0.85, 0.05), 0.6, 0.97))
        half = 1.96 * math.sqrt(auc * (1 - auc) / n)
        slices.append(
            Slice(
                kind="class",
                name=f"cluster {label}",
                members=n,
                nonmembers=int(random.integers(40, 100)),
                auc=Figure(value=auc, low=max(0.0, auc - half), high=min(1.0, auc + half)),
                mean_posterior=float(np.clip(auc - 0.1, 0, 1)),
                together=Figure(value=auc, low=max(0.0, auc - 1.6 * half), high=min(1.0, auc + 1.6 * half)),
                p_rest=min(1.0, 30 * math.exp(-(((auc - 0.85) / half * 1.4) ** 2))),
                p_chance=0.001,
            )
        )
    records = [
        RecordRisk(
            id=f"user-{int(random.integers(1000, 6000))}",
            label=f"cluster {int(random.integers(30))}",
            member=bool(random.random() < 0.97),
            score=9.7 - 0.2 * k,
            posterior=Figure(value=0.995 - 0.001 * k, low=0.97 - 0.002 * k, high=0.999),
            exposure=None if k % 7 == 6 else 0.999 - 0.001 * k,
        )
        for k in range(20)
    ]
    return Risk(
        attack="rmia",
        at_risk=412,
        share_at_risk=share(412, MEMBERS),
        posterior_histogram=[0.07, 0.06, 0.06, 0.08, 0.09, 0.11, 0.1, 0.11, 0.114, 0.206],
        exposure_quantiles=[0.41, 0.52, 0.68, 0.82, 0.93, 0.985, 1.0],
        calibration=[
            (0.08, 0.06, 460), (0.21, 0.22, 420), (0.35, 0.31, 380), (0.46, 0.5, 410), (0.55, 0.52, 430),
            (0.66, 0.69, 420), (0.76, 0.73, 440), (0.85, 0.88, 445), (0.93, 0.95, 330), (0.99, 0.99, 265),
        ],
        slices=slices,
        records=records,
    )  # fmt: skip


def config() -> dict[str, Any]:
    return {
        "name": "location30-mlp",
        "seed": 0,
        "data": {"source": "location30", "population": 0.2, "duplicates": "keep"},
        "target": None,
        "recipe": {
            "kind": "torch", "model": "mlp", "hidden": [256, 128], "epochs": 50, "batch_size": 64, "optimizer": "sgd",
            "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "cosine",
        },
        "defences": [],
        "shadow": {"count": 64, "design": "blocks", "data": "same", "architecture": "same", "executor": "inline"},
        "audit": {"attacks": "standard", "access": "score", "fpr": list(RATES), "targets": 8, "confidence": 0.95},
        "gate": {"tpr@0.01": {"max": 0.05}},
    }  # fmt: skip


@functools.cache
def example() -> AuditLog:
    """A whole audit that leaks, with one warning and a gate that failed."""
    attacks = [
        attack("gap", 0.55, 0.0, 0.001, 0, access="label", paper="Yeom et al., CSF 2018"),
        attack("loss", 0.95, 0.1, 0.004, 0, paper="Yeom et al., CSF 2018"),
        attack("entropy", 0.8, 0.1, 0.006, 0, paper="Song & Mittal, USENIX Security 2021"),
        attack(
            "modified_entropy", 0.96, 0.1, 0.006, 64, label="modified_entropy class", params={"thresholds": "class"}
        ),
        attack("attack_p", 0.9, 0.1, 0.01, 0, paper="Ye et al., CCS 2022"),
        attack("attack_r", 1.0, 0.8, 0.02, paper="Ye et al., CCS 2022"),
        attack("calibrated", 1.05, 0.9, 0.03, paper="Watson et al., ICLR 2022"),
        attack(
            "lira", 1.25, 1.5, 0.06, paper="Carlini et al., S&P 2022", params={"variance": "pooled", "online": True}
        ),
        attack(
            "rmia", 1.3, 1.5, 0.09, paper="Zarifzadeh et al., ICML 2024", params={"gamma": 2.0}, queries_per_record=2
        ),
        attack("quantile", 0.9, 0.3, 1.4, 0, paper="Bertran et al., NeurIPS 2023"),
        AttackResult(name="long", status="ok", reason="", auc=Figure(value=0.71, low=0.69, high=0.73)),
    ]
    return AuditLog(
        name="location30-mlp",
        created="2026-03-04T10:11:12+00:00",
        config=config(),
        provenance={
            "vestige": "0.1.0",
            "python": "3.11.9",
            "platform": "Linux x86_64",
            "packages": {"numpy": "2.4.1", "torch": "2.13.0"},
            "seed": 0,
        },
        population=Population(
            members=MEMBERS, nonmembers=NONMEMBERS, classes=30, records=5010, held_out=1010, features=446,
            source="location30", fingerprint="b3:5f2c9e0a77d1",
        ),
        target=TargetFacts(
            kind="torch", access="score", train_accuracy=1.0, test_accuracy=0.672, train_loss=0.004, test_loss=1.31,
            recipe="TorchRecipe(model='mlp', hidden=(256, 128), epochs=50)",
        ),
        shadow=ShadowFacts(
            count=64, trained=48, reused=16, train_accuracy=1.0, test_accuracy=0.668, seconds=21.4,
            design="complementary pairs in balanced blocks",
        ),
        attacks=attacks,
        risk=risk(),
        epsilon=[
            Epsilon(method="clopper_pearson", assumption="fixed thresholds", delta=1e-5, value=2.31, confidence=0.95)
        ],
        checks=[
            Check(
                id="near_duplicates",
                level="warning",
                message="38 records have a near-duplicate on the other side of the split",
                cause="A copy that was trained on makes its twin look like a member.",
                cure="Set data.duplicates = \"drop\", or split such records together by a group column.",
            ),
            Check(
                id="blind_baseline",
                level="info",
                message="without the model, features alone tell members from non-members with AUC 0.503 [0.485, 0.521]",
            ),
        ],
        checked=[
            Checked(id="few-nonmembers", outcome="passed"),
            Checked(id="duplicates", outcome="warning"),
            Checked(id="blind-baseline", outcome="info"),
            Checked(id="outputs-tied", outcome="passed"),
        ],
        findings=[
            Finding(
                id="tpr@0.01", attack="rmia", metric="tpr@0.01", value=0.4, limit=0.05, passed=False,
                message="the TPR at 1 % FPR of rmia is above the limit of 5 %",
            ),
            Finding(id="auc", attack="gap", metric="auc", value=0.65, limit=0.7, passed=True, message="within limits"),
        ],
        cost=Cost(
            seconds=Seconds(shadow=21.4, signals=1.9, attacks=1.7, total=27.3),
            peak_rss_mb=812.0, target_queries=12000, store_mb=61.0,
        ),
    )  # fmt: skip


def minimal() -> AuditLog:
    """The least that a log may hold."""
    return AuditLog(
        population=Population(members=0, nonmembers=0, classes=0), target=TargetFacts(kind="sklearn", access="score")
    )


def failed() -> AuditLog:
    """An audit in which one attack failed, one was skipped and every rate was withheld."""
    reason = "the 40 non-members cannot resolve a false-positive rate of 1 %"
    loss = AttackResult(
        name="loss",
        auc=Figure(value=0.62, low=0.5, high=0.73),
        balanced_accuracy=Figure(value=0.6, low=0.5, high=0.7),
        tpr=[TprPoint(fpr=0.01, reason=reason)],
    )
    return minimal().model_copy(
        update={
            "status": "partial",
            "population": Population(members=40, nonmembers=40, classes=2),
            "attacks": [
                loss,
                AttackResult(name="lira", status="failed", reason="a record has no OUT model"),
                AttackResult(name="nasr", access="white_box", status="skipped", reason="needs white_box access"),
            ],
        }
    )


def interrupted() -> AuditLog:
    """An audit that was stopped before any attack ran."""
    return minimal().model_copy(
        update={"status": "interrupted", "shadow": ShadowFacts(count=64, trained=12), "population": failed().population}
    )


def untrustworthy() -> AuditLog:
    """The full example, with a check that says not to believe it."""
    check = Check(
        id="blind_baseline",
        level="error",
        message="without the model, features alone tell members from non-members with AUC 0.93",
        cause="Members and non-members come from different sources.",
        cure="Draw both from one distribution.",
    )
    return example().model_copy(update={"checks": [check]})

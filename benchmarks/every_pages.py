"""The figures of `every_attack.py` as Markdown: what does not hold first, then the orderings, then every attack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Found = dict[str, Any]
KINDS = ("label-only", "score", "white-box", "process")
WORDS = {"auc": "AUC", "tpr@0.01": "TPR at 1 % FPR", "tpr@0.001": "TPR at 0.1 % FPR"}
FIGURES = WORDS | {"decision": "balanced accuracy, threshold from other models"}
NOTE = (
    "Medians over targets; in brackets the 95 % interval of their mean. *Records*: how many each target is judged on, "
    "half of them members. *Queries*: labels or answers of the target per record. *Seconds*: what only this attack's "
    "signals took, on all models they are read of, and scoring all targets; training is apart. Signals that several "
    "attacks share count for each. A rate that the records cannot resolve is withheld (–)."
)
IDENTITY = 1e-6


def page(found: Found) -> str:
    """Return the whole page."""
    machine = found["machine"]
    seconds = sum(fact["seconds"] for one in found["datasets"].values() for fact in one["facts"])
    head = (
        f"`python benchmarks/every_attack.py`, {found['targets']} targets a seed, on "
        f"{machine['cpu']}, {machine['threads']} process{'es' if machine['threads'] > 1 else ''} of one thread"
        f": {seconds / 60:.0f} minutes."
    )
    parts = [head + (" **A quick run, not the benchmark.**" if found["quick"] else ""), verdicts(found), NOTE]
    for dataset, one in found["datasets"].items():
        parts += [f"### {dataset}", sizes(one["facts"]), table(one["rows"])]
        if one["lost"]:
            parts.append("Did not run: " + "; ".join(one["lost"]) + ".")
    return "\n\n".join(parts) + "\n"


def verdicts(found: Found) -> str:
    """Return the orderings, those that do not hold first."""
    rows = [(dataset, row) for dataset, one in found["datasets"].items() for row in one["orderings"]]
    rows += [(f"{row['dataset']}, logistic, few records", row) for row in found.get("small", [])]
    rows.sort(key=lambda pair: pair[1]["verdict"] != "DOES NOT HOLD")
    lines = [
        "| data | ordering | figure | difference | verdict |",
        "|---|---|---|---|---|",
        *(_ordering(dataset, row) for dataset, row in rows),
    ]
    for dataset, one in found["datasets"].items():
        worst = max(fact["identity"] for fact in one["facts"])
        holds = "holds" if worst <= IDENTITY else "DOES NOT HOLD"
        lines.append(
            f"| {dataset} | last layer's gradients from two factors = full ones | largest relative difference | "
            f"{worst:.0e} | {holds} |"
        )
    return "\n".join(lines)


def _ordering(dataset: str, row: Found) -> str:
    roles = row.get("roles", ["", ""])
    names = [
        f"{role} (`{title}`)" if role else f"`{title}`"
        for role, title in zip(roles, (row["weaker"], row["stronger"]), strict=True)
    ]
    gap = "–" if row["gap"] is None else f"{row['gap']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
    figure = f"{FIGURES[row['figure']]}, {row['records']:,} records"
    bold = f"**{row['verdict']}**" if row["verdict"] == "DOES NOT HOLD" else row["verdict"]
    return f"| {dataset} | {names[1]} ≥ {names[0]} | {figure} | {gap} | {bold} |"


def sizes(facts: list[Found]) -> str:
    """Return what was trained, in a sentence."""
    one = facts[0]
    recipe = one["recipe"]
    network = f"{recipe['model']}, {recipe['epochs']} epochs"
    seen, held = (sum(fact[side] for fact in facts) / len(facts) for side in ("train_accuracy", "test_accuracy"))
    return (
        f"{one['records']:,} audited records, half of them members of each model, and {one['held_out']:,} held out; "
        f"{one['shadows']} shadow models ({network}), accuracy {seen:.3f} on their own records and {held:.3f} on "
        f"others; seeds {', '.join(str(fact['seed']) for fact in facts)}. Label-only attacks judge {one['some']:,} of "
        f"the records. A seed took "
        f"{sum(fact['seconds'] for fact in facts) / len(facts):.0f} s, {one['training']:.0f} s of them training."
    )


def table(rows: Iterable[Found]) -> str:
    """Return one row per attack, by kind and then by AUC."""
    lines = [
        "| | attack | AUC | TPR at 1 % FPR | TPR at 0.1 % FPR | records | queries | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = sorted(rows, key=lambda row: (KINDS.index(row["kind"]), -row["figures"]["auc"]["median"]))
    for row in order:
        cells = [_shown(row["figures"][name]) for name in WORDS]
        lines.append(
            f"| {row['kind']} | `{row['title']}` | {' | '.join(cells)} | {row['records']:,} | {row['queries']} | "
            f"{row['seconds']:.1f} |"
        )
    return "\n".join(lines)


def _shown(figure: Found) -> str:
    if figure["median"] is None or figure["mean"] is None:
        return "–"
    return f"{figure['median']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"

"""Attacks: look them up by name, expand a battery, and say what each one is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vestige.attacks.base import Attack, Needs
from vestige.attacks.requirements import knowledge_of, queries_of
from vestige.errors import UsageError
from vestige.records import Task
from vestige.registry import Registry, did_you_mean
from vestige.signals import create as signal_of
from vestige.target import Access

__all__ = ["ATTACKS", "BATTERIES", "AttackFacts", "able", "facts", "params_of", "resolve", "unfit"]

ATTACKS = Registry(
    "attacks",
    {
        "gap": "vestige.attacks.threshold:Gap",
        "loss": "vestige.attacks.threshold:Loss",
        "confidence": "vestige.attacks.threshold:Confidence",
        "entropy": "vestige.attacks.threshold:Entropy",
        "modified_entropy": "vestige.attacks.threshold:ModifiedEntropy",
        "risk_score": "vestige.attacks.risk_score:RiskScore",
        "shokri": "vestige.attacks.shokri:Shokri",
        "ml_leaks_1": "vestige.attacks.ml_leaks:MLLeaks1",
        "ml_leaks_2": "vestige.attacks.ml_leaks:MLLeaks2",
        "ml_leaks_3": "vestige.attacks.ml_leaks:MLLeaks3",
        "attack_p": "vestige.attacks.population:AttackP",
        "attack_r": "vestige.attacks.reference:AttackR",
        "calibrated": "vestige.attacks.calibrated:Calibrated",
        "sablayrolles": "vestige.attacks.calibrated:Sablayrolles",
        "long": "vestige.attacks.long:Long",
        "lira": "vestige.attacks.lira:LiRA",
        "lira_offline": "vestige.attacks.lira:LiRAOffline",
        "rmia": "vestige.attacks.rmia:RMIA",
        "rmia_offline": "vestige.attacks.rmia:RMIAOffline",
        "quantile": "vestige.attacks.quantile:Quantile",
        "transfer": "vestige.attacks.transfer:Transfer",
        "boundary": "vestige.attacks.boundary:Boundary",
        "noise": "vestige.attacks.noise:Noise",
        "augmentation": "vestige.attacks.augmentation:Augmentation",
        "yoqo": "vestige.attacks.yoqo:YOQO",
        "gradient_norm": "vestige.attacks.gradient_norm:GradientNorm",
        "nasr": "vestige.attacks.nasr:Nasr",
        "bayes_wb": "vestige.attacks.bayes_wb:BayesWB",
        "white_box": "vestige.attacks.white_box:WhiteBox",
        "trajectory": "vestige.attacks.trajectory:Trajectory",
        "seqmia": "vestige.attacks.seqmia:SeqMIA",
        "ensemble": "vestige.attacks.ensemble:Ensemble",
        "model_update": "vestige.attacks.model_update:ModelUpdate",
        "timing": "vestige.attacks.timing:Timing",
    },
)

Named = str | Mapping[str, Any]
BY_CLASS = {"thresholds": "class"}

BATTERIES: dict[str, tuple[Named, ...]] = {
    "quick": ("loss", "rmia"),
    "standard": (
        "gap",
        "loss",
        {"name": "modified_entropy", "params": BY_CLASS},
        "calibrated",
        "attack_r",
        "lira",
        "lira_offline",
        "rmia",
        "rmia_offline",
    ),
    "full": (
        "gap",
        "loss",
        {"name": "loss", "params": {"gaussian": True}},
        {"name": "confidence", "params": BY_CLASS},
        {"name": "entropy", "params": BY_CLASS},
        "modified_entropy",
        {"name": "modified_entropy", "params": BY_CLASS},
        "risk_score",
        "shokri",
        "ml_leaks_1",
        "ml_leaks_2",
        "ml_leaks_3",
        "attack_p",
        "attack_r",
        "calibrated",
        "sablayrolles",
        "long",
        "lira",
        {"name": "lira", "params": {"variance": "pooled", "centre": "mean"}},
        {"name": "lira", "params": {"variance": "per_record", "centre": "mean"}},
        "lira_offline",
        {"name": "lira_offline", "params": {"sides": "two"}},
        "rmia",
        "rmia_offline",
        "quantile",
    ),
}

LABEL_ONLY: dict[str, tuple[Named, ...]] = {
    "quick": ("gap", "noise"),
    "standard": ("gap", "noise", "augmentation", "boundary"),
    "full": ("gap", "noise", "augmentation", {"name": "augmentation", "params": {"rule": "learned"}}, "boundary",
             "transfer", "yoqo", {"name": "yoqo", "params": {"online": True}}),
}  # fmt: skip
"""What a battery's name stands for when the adversary sees labels alone, where only `gap` would be left of it."""

WHITE_BOX: dict[str, tuple[Named, ...]] = {
    "quick": ("gradient_norm",),
    "standard": ("gradient_norm", {"name": "gradient_norm", "params": {"calibration": "lira"}}, "white_box"),
    "full": ("gradient_norm", {"name": "gradient_norm", "params": {"calibration": "lira"}}, "white_box", "nasr",
             "bayes_wb", "trajectory", "seqmia"),
}  # fmt: skip
"""What a battery's name stands for besides, when the adversary has the weights; the last two also retrain copies."""

UPDATES: dict[str, tuple[Named, ...]] = {
    "quick": ("model_update",),
    "standard": ("model_update", {"name": "model_update", "params": {"rule": "lira"}}),
    "full": ("model_update", {"name": "model_update", "params": {"rule": "ratio"}},
             {"name": "model_update", "params": {"rule": "lira"}},
             {"name": "model_update", "params": {"rule": "learned"}}),
}  # fmt: skip
"""What a battery's name stands for besides, when the adversary has the model before its update too."""

REGRESSION_SIGNAL = "negative_log_loss"


@dataclass(frozen=True, kw_only=True)
class AttackFacts:
    """What is known about an attack before it runs, with its default parameters."""

    name: str
    access: str
    tasks: tuple[str, ...]
    description: str
    paper: str
    signals: tuple[str, ...]
    side: str
    shadows: int
    wants: int | None
    population: bool
    features: bool
    knowledge: tuple[str, ...]
    queries: str
    params: dict[str, Any]


def facts(name: str) -> AttackFacts:
    """Return the facts about the attack called ``name``."""
    attack: Any = ATTACKS.create(name)
    needs: Needs = attack.needs
    return AttackFacts(
        name=name,
        access=attack.access.label,
        tasks=tuple(sorted(attack.tasks)),
        description=" ".join((type(attack).__doc__ or "").split("\n\n")[0].split()),
        paper=attack.paper,
        signals=needs.signals,
        side=needs.side,
        shadows=needs.shadows,
        wants=needs.wants,
        population=needs.population,
        features=needs.features,
        knowledge=knowledge_of(attack),
        queries=queries_of(attack),
        params=params_of(attack),
    )


def params_of(attack: Attack) -> dict[str, Any]:
    """Return an attack's parameters, which with its name are all it takes to build it again."""
    return {field.name: getattr(attack, field.name) for field in dataclasses.fields(attack)}  # type: ignore[arg-type]


def unfit(attack: Attack, *, task: Task = "classification", access: Access = Access.SCORE) -> str:
    """Return why an attack cannot run on such a target, in one sentence, or an empty string when it can."""
    if attack.access > access:
        return f"It needs {attack.access.label} access, and the target shows only {access.label}."
    tasks: frozenset[str] = getattr(attack, "tasks", frozenset({"classification"}))
    if task not in tasks:
        return f"It is defined for {' and '.join(sorted(tasks))}, not for {task}."
    for key in attack.needs.signals:
        signal = signal_of(key)
        if signal.access > access:
            return f"Its signal {key} needs {signal.access.label} access, and the target shows only {access.label}."
        if task not in getattr(signal, "tasks", frozenset({task})):
            return f"Its signal {key} is not defined for {task}."
    return ""


def resolve(
    spec: str | Sequence[Named],
    task: Task = "classification",
    access: str | Access = Access.SCORE,
    *,
    budget: int | None = None,
    updated: bool = False,
) -> list[tuple[str, Attack]]:
    """Return the attacks that ``spec`` names, each with a label of its own, such as ``modified_entropy[class]``.

    ``spec``: the name of a battery or of an attack, or a list of names and of {name, params}. A battery leaves out what
    cannot run on such a target (`unfit`); an attack asked for by name is returned even so, for the audit to report why
    it did not run. ``budget``: the most queries per record; attacks that choose their number make the best of it.
    ``updated``: whether there is the model before an update too, which batteries then compare with.
    Raises UsageError for unknown names and parameters, and for an empty list.
    """
    level = Access.parse(access)
    batteries = LABEL_ONLY if level == Access.LABEL and task == "classification" else BATTERIES
    chosen: list[tuple[str, Attack]] = []
    for entry in [spec] if isinstance(spec, str | Mapping) else spec:
        if isinstance(entry, str) and entry in BATTERIES:
            more = WHITE_BOX[entry] if level == Access.WHITE_BOX else ()
            more = (*more, *(UPDATES[entry] if updated else ()))
            battery = [_build(each, task) for each in (*batteries[entry], *more)]
            able = [pair for pair in battery if not unfit(pair[1], task=task, access=level)]
            found = [pair for pair in able if _affordable(pair[1], budget)]
        else:
            found = [_build(entry, task)]
        chosen += [pair for pair in found if pair not in chosen]
    if not chosen:
        raise UsageError(
            f"No attack is left to run: '{spec}' has none for {task} with {level.label} access.",
            hint="Name attacks or a battery: quick, standard or full.",
        )
    labels = _labels(chosen)
    return list(zip(labels, [_within(attack, budget) for _, attack in chosen], strict=True))


def able(
    named: Sequence[Named], task: Task = "classification", access: str | Access = Access.SCORE, *, budget: int | None
) -> list[Named]:
    """Return those of the attacks named that can run on such a target, as a battery leaves out what cannot.

    >>> able(["gap", "loss"], access="label", budget=None)
    ['gap']
    """
    level, made = Access.parse(access), [(entry, _build(entry, task)[1]) for entry in named]
    return [one for one, attack in made if not unfit(attack, task=task, access=level) and _affordable(attack, budget)]


def _affordable(attack: Attack, budget: int | None) -> bool:
    try:
        _within(attack, budget)
    except UsageError:
        return False
    return True


def _within(attack: Attack, budget: int | None) -> Attack:
    """Return the attack with no more queries per record than the budget, where it chooses their number."""
    each = getattr(attack, "each", None)
    if each is not None:
        made: Attack = each(lambda _, part: _within(part, budget))
        return made
    spare: int = getattr(attack, "extra_queries", 0)
    wanted: int | None = getattr(attack, "queries", None)
    if budget is None or wanted is None or wanted + spare <= budget:
        return attack
    if budget <= spare:
        raise UsageError(f"A budget of {budget} queries per record is too small for {type(attack).__name__}.")
    fewer: Attack = dataclasses.replace(attack, queries=budget - spare)  # type: ignore[type-var]
    return fewer


def _build(entry: Named, task: Task) -> tuple[str, Attack]:
    if isinstance(entry, str):
        entry = {"name": entry}
    unknown = [key for key in entry if key not in ("name", "params")]
    if "name" not in entry or unknown:
        raise UsageError(
            f"Expected an attack as a name or as {{name, params}}, got {dict(entry)!r}.",
            hint="Parameters go inside 'params'." if unknown else "",
        )
    name, params = str(entry["name"]), dict(entry.get("params") or {})
    if name not in ATTACKS:
        known = [*ATTACKS.names(), *BATTERIES]
        hint = did_you_mean(name, known) or "See `vestige list attacks`."
        raise UsageError(f"There is no attack or battery called '{name}'.", hint=hint)
    return name, _suited(ATTACKS.create(name, params), set(params), task)


def _suited(attack: Attack, given: set[str], task: Task) -> Attack:
    """Return the attack on a signal that a regression has, unless its signal was among the parameters ``given``."""
    if task != "regression" or not unfit(attack, task=task, access=Access.WHITE_BOX):
        return attack
    each = getattr(attack, "each", None)
    if each is not None:
        made: Attack = each(lambda _, part: _suited(part, set(), task))
        return made
    if "signal" not in set(params_of(attack)) - given:
        return attack
    suited: Attack = dataclasses.replace(attack, signal=REGRESSION_SIGNAL)  # type: ignore[type-var]
    return suited


def _labels(chosen: Sequence[tuple[str, Attack]]) -> list[str]:
    short = [_label(name, attack, brief=True) for name, attack in chosen]
    full = [_label(name, attack, brief=False) for name, attack in chosen]
    return [long if short.count(brief) > 1 else brief for brief, long in zip(short, full, strict=True)]


def _label(name: str, attack: Attack, *, brief: bool) -> str:
    usual = params_of(ATTACKS.create(name))
    odd = {key: value for key, value in params_of(attack).items() if usual[key] != value}
    words = [_word(key, value) if brief else f"{key}={value}" for key, value in odd.items()]
    return f"{name}[{', '.join(words)}]" if words else name


def _word(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    return key if value is True else f"{key}={value}"

"""From a config with a [tradeoff] to its candidates: each an ordinary audit's config, or the reason why it is none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vestige.attacks import BATTERIES, able
from vestige.auditing.inputs import make_recipe
from vestige.auditing.knowledge import relaxed
from vestige.config import AuditConfig
from vestige.config.comparisons import GridConfig, TradeoffChain, TradeoffConfig
from vestige.config.target import DefenceConfig, RecipeConfig
from vestige.defend import layers_of
from vestige.defend.layers import Layers
from vestige.errors import ConfigError, MissingDependency, VestigeError
from vestige.target import Access
from vestige.tradeoff.canaries import check as check_canaries
from vestige.tradeoff.ranges import Path, Range, open_values, put, said, swept

UNDEFENDED = "undefended"
EARLY = "early stopping"
HEURISTIC = "DP-SGD, little noise"
PRIVATE = "DP-SGD"
CONFIGURED = "as configured"
SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)
MOST_CANDIDATES = 500


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way of training and serving: ``method`` it belongs to, ``settings`` that set it apart there.

    ``config``: its audit's, with the middle of every range that is left to tune in ``ranges``; ``epochs``: broken off
    after so many; ``reason``: why there is no such audit.
    """

    id: str
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    config: AuditConfig
    ranges: dict[Path, Range] = field(default_factory=dict)
    epochs: int | None = None
    baseline: bool = False
    reason: str = ""

    @property
    def layers(self) -> Layers:
        """The candidate's defences."""
        found: Layers = layers_of([{"kind": one.kind, **one.options} for one in self.config.defences])
        return found

    def settled(self, values: Mapping[Path, Any]) -> AuditConfig:
        """Return the config with these values in place of the ranges."""
        return _with(self.config, values)


def expand(config: AuditConfig) -> list[Candidate]:
    """Return the candidates: no defence, the baselines, the config's own chain, and the chosen defences.

    Raises ConfigError for a config that no trade-off can be made of, and for defences and recipes that no model could
    have; that a defence does not suit this recipe is found later, and left in the list with its reason.
    """
    _check(config)
    told = config.tradeoff
    base = config.model_copy(
        update={
            "tradeoff": TradeoffConfig(),
            "grid": GridConfig(),
            "gate": {},
            "claim": None,
            "defences": [],
            "shadow": config.shadow.model_copy(update={"defences": "known"}),
        }
    )
    made = [_Draft(UNDEFENDED, {}, [], {}, baseline=True)]
    if "early_stopping" in told.baselines:
        made += _early(config)
    if "heuristic_dp_sgd" in told.baselines:
        own = {"heuristic": True, **told.dp_sgd}
        made += [
            _Draft(HEURISTIC, {"σ": one}, [{"kind": "dp_sgd", "noise_multiplier": one, **own}], {}, True)
            for one in told.noise
        ]
    if "dp_sgd" in told.baselines:
        made += [
            _Draft(PRIVATE, {"ε": one}, [{"kind": "dp_sgd", "epsilon": one, **told.dp_sgd}], {}, True)
            for one in told.epsilon
        ]
    if config.defences:
        made.append(_Draft(CONFIGURED, {}, [_plain(one) for one in config.defences], {}))
    made += [_chosen(chain) for chain in told.defences]
    candidates: list[Candidate] = []
    for draft in made:
        # A claim of the user's own is about the chain that the config itself has.
        under = base.model_copy(update={"claim": config.claim if draft.method == CONFIGURED else None})
        for one in _swept(under, draft, told.tune):
            candidates.append(_numbered(one, len(candidates)))
            if len(candidates) > MOST_CANDIDATES:
                raise ConfigError(
                    f"[tradeoff] makes more than {MOST_CANDIDATES} audits, and no more are run.", hint="Shorten a list."
                )
    return candidates


@dataclass(frozen=True)
class _Draft:
    """A method before its lists are swept."""

    method: str
    settings: dict[str, Any]
    chain: list[dict[str, Any]]
    recipe: dict[str, Any]
    baseline: bool = False
    epochs: int | None = None
    reason: str = ""


def _check(config: AuditConfig) -> None:
    if config.target is not None or config.update is not None:
        raise ConfigError(
            "A trade-off trains its own targets, under every defence in turn, and [target] or [update] gives one.",
            hint="Leave it out, and describe in [recipe] how the model is trained.",
        )
    if relaxed(config.shadow, config.data):
        raise ConfigError(
            "A trade-off is against an adversary who knows how the target was trained, and [shadow] relaxes that.",
            hint="Leave data and architecture at 'same' and hyperparameters at 'known'.",
        )
    check_canaries(config)
    names = [chain.name or _kinds(chain) for chain in config.tradeoff.defences]
    taken = {UNDEFENDED, EARLY, HEURISTIC, PRIVATE, CONFIGURED, ""}
    for name in names:
        if name in taken or names.count(name) > 1:
            what = f"two are called '{name}'" if name not in taken else f"'{name}' is taken" if name else "one is empty"
            raise ConfigError(
                f"[[tradeoff.defences]]: every chain needs kinds and a name of its own, and {what}.",
                hint='Give it name = "…" and chain = [{ kind = "…" }].',
            )


def _kinds(chain: TradeoffChain) -> str:
    return " + ".join(one.kind for one in chain.chain)


def _plain(table: DefenceConfig) -> dict[str, Any]:
    return {"kind": table.kind, **table.options}


def _early(config: AuditConfig) -> list[_Draft]:
    """Return the early-stopping curve, or why there is none."""
    from vestige.backends.torch import TorchRecipe

    recipe = make_recipe(config.recipe)
    if not isinstance(recipe, TorchRecipe):
        reason = f"A {type(recipe).__name__} has no epochs to stop after."
        return [_Draft(EARLY, {}, [], {}, True, reason=reason)]
    whole = recipe.epochs
    asked = config.tradeoff.epochs or [max(1, round(share * whole)) for share in SHARES]
    for epochs in config.tradeoff.epochs:
        if not 1 <= epochs <= whole:
            raise ConfigError(f"[tradeoff] epochs names {epochs}, and the recipe trains for {whole}.")
    return [
        _Draft(EARLY, {"epochs": epochs}, [], {}, True, epochs=epochs)
        for epochs in sorted(set(asked))
        if epochs < whole
    ]


def _chosen(chain: TradeoffChain) -> _Draft:
    return _Draft(chain.name or _kinds(chain), {}, [_plain(one) for one in chain.chain], chain.recipe)


def _swept(base: AuditConfig, draft: _Draft, tune: Mapping[str, Any]) -> list[Candidate]:
    """Return one candidate for every combination of a draft's lists."""
    table = {"recipe": draft.recipe, "defences": draft.chain}
    lists, ranges = open_values(draft.recipe, f"{draft.method}: recipe", ("recipe",))
    for k, one in enumerate(draft.chain):
        inner = open_values(one, f"{draft.method}: {one['kind']}", ("defences", k))
        lists.update(inner[0])
        ranges.update(inner[1])
    several, shared = open_values(tune, "[tradeoff] tune", ("recipe",))
    shared.update({path: Range(choices=tuple(values)) for path, values in several.items()})
    plain = {path: value for path, value in _leaves(tune, ("recipe",)) if path not in shared}
    ranges = {**shared, **ranges}
    fixed = {path for path in ranges if path in lists or _holds(draft.recipe, path)} - set(
        open_values(draft.recipe, "", ("recipe",))[1]
    )
    ranges = {path: range_ for path, range_ in ranges.items() if path not in fixed}
    made = []
    for values in swept(lists):
        told: Any = table
        for path, value in {**plain, **{p: r.middle for p, r in ranges.items()}, **values}.items():
            told = put(told, path, value)
        settings = {**draft.settings, **{_name(path, draft.chain): value for path, value in values.items()}}
        made.append(_candidate(base, draft, told, settings, ranges))
    return made


def _leaves(table: Mapping[str, Any], path: Path) -> list[tuple[Path, Any]]:
    found: list[tuple[Path, Any]] = []
    for key, value in table.items():
        inner = isinstance(value, Mapping) and not set(value) & {"low", "high", "log"}
        found += _leaves(value, (*path, key)) if inner else [((*path, key), value)]
    return found


def _holds(recipe: Mapping[str, Any], path: Path) -> bool:
    """Whether a method's own [recipe] keys say a value, which then is not tuned."""
    value: Any = recipe
    for step in path[1:]:
        if not isinstance(value, Mapping) or step not in value:
            return False
        value = value[str(step)]
    return True


def _name(path: Path, chain: Sequence[Mapping[str, Any]]) -> str:
    """Return what a swept value is called: its key, and its defence's kind where there are several."""
    if path[0] == "recipe":
        return ".".join(map(str, path[1:]))
    return str(path[-1]) if len(chain) == 1 else f"{chain[int(path[1])]['kind']} {path[-1]}"


def _candidate(
    base: AuditConfig, draft: _Draft, told: Mapping[str, Any], settings: dict[str, Any], ranges: dict[Path, Range]
) -> Candidate:
    values = dict(_leaves(told["recipe"], ("recipe",)))
    config = _with(base, values).model_copy(
        update={"defences": [DefenceConfig.model_validate(one) for one in told["defences"]]}
    )
    made = Candidate(
        id="", method=draft.method, settings=settings, config=config, ranges=ranges, epochs=draft.epochs,
        baseline=draft.baseline, reason=draft.reason,
    )  # fmt: skip
    try:
        layers = made.layers
        make_recipe(config.recipe)
    except MissingDependency as error:
        return replace(made, reason=draft.reason or str(error))
    except VestigeError as error:
        # A typing error would otherwise be found after hours, and read as a property of the defence.
        raise ConfigError(f"[tradeoff] {draft.method}: {error.message}", hint=error.hint) from error
    named, access = config.audit.attacks, layers.shows(Access.parse(config.audit.access))
    if isinstance(named, str) and named in BATTERIES:
        return made  # its audit adds what aims at the defences
    entries: list[Any] = [named] if isinstance(named, str) else list(named)
    aimed = able(layers.facing(access).adaptive, access=access, budget=config.audit.budget)
    entries += [attack for attack in aimed if attack not in entries]
    audit = config.audit.model_copy(update={"attacks": entries if len(entries) > 1 else named})
    return replace(made, config=config.model_copy(update={"audit": audit}))


def _with(config: AuditConfig, values: Mapping[Path, Any]) -> AuditConfig:
    """Return the config with values put into its [recipe] and [[defences]]."""
    told: Any = {
        "recipe": {"kind": config.recipe.kind, **config.recipe.options},
        "defences": [_plain(one) for one in config.defences],
    }
    for path, value in values.items():
        told = put(told, path, value)
    return config.model_copy(
        update={
            "recipe": RecipeConfig.model_validate(told["recipe"]),
            "defences": [DefenceConfig.model_validate(one) for one in told["defences"]],
        }
    )


def _numbered(candidate: Candidate, k: int) -> Candidate:
    words = [candidate.method, *(said((key,), value) for key, value in candidate.settings.items())]
    slug = re.sub(r"[^a-z0-9.]+", "-", " ".join(words).lower()).strip("-.")[:60].rstrip("-.")
    name = " ".join(words[:1]) + (f" ({', '.join(words[1:])})" if words[1:] else "")
    config = candidate.config.model_copy(update={"name": f"{candidate.config.name}: {name}"})
    return replace(candidate, id=f"{k:03d}-{slug}", config=config)

"""Does what a formal defence claims hold? Many small trainings with and without one worst record, and a bound on ε.

    python benchmarks/claims.py --repeats 20 --out claims.json
    python benchmarks/claims.py --defences dp_sgd amp --repeats 2 --trainings 400

In every repeat a fair coin decides for each training whether one record is in (or which of two, where the claim is for
exchanging one). The record has a feature of its own and as much influence as the defence allows; the adversary reads
what is released: the weights, or for private prediction the one answer. Each training has noise and samples of its own,
so the bound on ε, from one exact region for both error rates, assumes nothing else. A bound above the claim refutes it;
with 95 % confidence one true claim in 20 may be refuted, were its ε exactly reached. The same game is played with
mechanisms that are broken (a tenth of the noise, no clipping), which it must refute, or it would have no power.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import machine
from vestige.defend import DEFENCES
from vestige.errors import VestigeError
from vestige.metrics.epsilon import Coins, gdp_fit, joint_region
from vestige.privacy_claim import PrivacyClaim
from vestige.records import Records
from vestige.seeds import rng, seed_for

BASE = 102
"""Records that are always in: as many that one more changes no number of two digits."""
CHUNK = 250
NONE = np.zeros(0, np.int64)
Scores = Callable[[NDArray[np.bool_], Sequence[int]], NDArray[np.float64]]
"""``(which trainings have the record, their seeds) -> one score each, larger where it was in``."""


@dataclass(frozen=True)
class Game:
    """A defence as configured, its claim, how the trainings are scored, and whether the claim must be refuted.

    ``normal``: the scores are, by what the mechanism is, so that a fit of a Gaussian bounds ε nearly tightly.
    """

    name: str
    claim: PrivacyClaim
    scores: Scores
    broken: bool = False
    normal: bool = False


@dataclass(frozen=True, kw_only=True)
class Played:
    """All repeats of one game: what each bounds ε by."""

    name: str
    broken: bool
    claimed: float
    delta: float
    trainings: int
    bounds: list[float]
    fitted: list[float]
    seconds: float

    @property
    def above(self) -> int:
        """How many repeats refute the claim."""
        return sum(bound > self.claimed for bound in self.bounds)

    @property
    def above_fitted(self) -> int:
        """How many fits do."""
        return sum(bound > self.claimed for bound in self.fitted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--defences", nargs="+", choices=list(GAMES), default=list(GAMES))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--trainings", type=int, default=2000, help="in each repeat; pate, which is slow, gets a fifth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    print(machine.describe(1), flush=True)
    found: list[Played] = []
    for name in args.defences:
        for game in GAMES[name]():
            found.append(played(game, args))
            if args.out:
                facts = {"machine": machine.facts(1), "games": [asdict(one) for one in found]}
                args.out.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    print(render(found))
    # True claims: one repeat in 20 may be unlucky; broken mechanisms: nearly every repeat has to see it.
    if any(max(one.above, one.above_fitted) > max(1, len(one.bounds) / 10) for one in found if not one.broken):
        sys.exit(1)
    if any(one.above < 0.9 * len(one.bounds) for one in found if one.broken):
        sys.exit(1)


def played(game: Game, args: argparse.Namespace) -> Played:
    """Play all repeats of one game."""
    start, bounds, fitted = time.perf_counter(), [], []
    trainings = args.trainings // 5 if game.name.startswith("pate") else args.trainings
    for repeat in range(args.repeats):
        path = (game.name, repeat)
        included = rng(args.seed, "claims", *path).random(trainings) < 0.5
        seeds = [seed_for(args.seed, "claims", *path, k) for k in range(trainings)]
        scores = game.scores(included, seeds)
        bound = joint_region(
            scores[included], scores[~included], delta=game.claim.delta, confidence=0.95, trials="separate_runs"
        )
        bounds.append(round(float(bound.value or 0.0), 4))
        if game.normal:
            coins = Coins(scores=scores, included=included)
            found = gdp_fit(coins, mechanism="gaussian", delta=game.claim.delta, confidence=0.95)
            fitted.append(round(float(found.value or 0.0), 4))
    one = Played(
        name=game.name,
        broken=game.broken,
        claimed=game.claim.epsilon,
        delta=game.claim.delta,
        trainings=trainings,
        bounds=bounds,
        fitted=fitted,
        seconds=round(time.perf_counter() - start, 1),
    )
    print(f"{one.name}: ε ≥ {max(bounds):.2f} at most, {one.above} above, {one.seconds} s", file=sys.stderr, flush=True)
    return one


# Torch: two logits, no bias, zero at the start; the record has the last feature to itself.


def torch_records() -> Records:
    """Return the records that are always in, with little to say, and last the one that is played for."""
    random = rng(0, "claims", "records")
    x = np.zeros((BASE + 1, 4), np.float32)
    x[:BASE, :3] = random.standard_normal((BASE, 3)) / 2
    x[BASE, 3] = 100.0
    return Records.build(x, np.append(random.integers(0, 2, BASE), 1))


def linear() -> Any:
    """Return a linear model whose weights are zero."""
    from torch import nn

    layer = nn.Linear(4, 2, bias=False)
    nn.init.zeros_(layer.weight)
    return nn.Sequential(layer)


def torch_recipe(**changes: Any) -> Any:
    """Return a training of so few steps, and so small ones, that the record's gradient stays as long as it may be."""
    from vestige.backends.torch import TorchRecipe

    usual = {"epochs": 3, "batch_size": 34, "lr": 1e-4, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    return TorchRecipe(model=linear, normalize="none", **{**usual, **changes})


def torch_scores(defence: Any, recipe: Any) -> Scores:
    """Return a score: how far the weights went along the record's gradient."""
    records, private = torch_records(), defence.wrap(recipe, NONE)
    with_it, without = np.arange(BASE + 1), np.arange(BASE)

    def scores(included: NDArray[np.bool_], seeds: Sequence[int]) -> NDArray[np.float64]:
        found: list[float] = []
        for first in range(0, len(seeds), CHUNK):
            part = slice(first, first + CHUNK)
            rows = [with_it if own else without for own in included[part]]
            for target in private.fit_many(records, rows, seeds[part]):
                weight = target.state()["0.weight"]
                found.append(float(weight[1, 3]) - float(weight[0, 3]))
        return np.array(found)

    return scores


def torch_game(name: str, options: dict[str, Any], title: str, **changes: Any) -> Game:
    """Return the game of a torch defence as it is."""
    defence, recipe = DEFENCES.create(name, options), torch_recipe(**changes)
    normal = name == "dp_sgd" and recipe.batch_size > BASE
    return Game(title, defence.claim(recipe, BASE), torch_scores(defence, recipe), normal=normal)


def dp_sgd() -> list[Game]:
    """Return DP-SGD with samples, without, and in three ways that are wrong."""
    from vestige.defend.private.clipping import Fixed
    from vestige.defend.private.dp_sgd import DPSGD

    class QuietDPSGD(DPSGD):
        def clip(self, random: Any, terms: Any) -> Any:  # noqa: ARG002
            return Quiet(self.max_grad_norm)

    class UncutDPSGD(DPSGD):
        def clip(self, random: Any, terms: Any) -> Any:  # noqa: ARG002
            return Uncut(self.max_grad_norm)

    class Quiet(Fixed):
        def spread(self, noise: float) -> float:
            return 0.1 * noise * self.norm

    class Uncut(Fixed):
        def limits(self, rows: Any, norms: Any) -> float:  # noqa: ARG002
            return 1e9

    whole = {"batch_size": BASE + 1, "epochs": 4}
    games = [
        torch_game("dp_sgd", {"epsilon": 1.0, "delta": 1e-5}, "dp_sgd, ε = 1, sampled"),
        torch_game("dp_sgd", {"epsilon": 1.0, "delta": 1e-5}, "dp_sgd, ε = 1", **whole),
        torch_game("dp_sgd", {"epsilon": 4.0, "delta": 1e-5}, "dp_sgd, ε = 4", **whole),
        torch_game("dp_sgd", {"epsilon": 1.0, "delta": 1e-5, "engine": "batched", "schedule": "linear"},
                   "dp_sgd, ε = 1, linear noise", **whole),
    ]  # fmt: skip
    recipe = torch_recipe()
    for title, kind in (("a tenth of the noise", QuietDPSGD), ("no clipping", UncutDPSGD)):
        made = kind(epsilon=1.0, delta=1e-5)
        claim = made.claim(recipe, BASE)
        games.append(Game(f"dp_sgd, {title}", claim, torch_scores(made, recipe), broken=True))
    return games


def adaptive_clipping() -> list[Game]:
    """Return adaptive clipping at two budgets, and with a tenth of the noise."""
    from vestige.defend.private.adaptive_clipping import AdaptiveClipping

    class QuietAdaptiveClipping(AdaptiveClipping):
        def clip(self, random: Any, terms: Any) -> Any:
            made = super().clip(random, terms)
            loud = made.spread
            made.spread = lambda noise: 0.1 * loud(noise)
            return made

    whole = {"batch_size": BASE + 1, "epochs": 4}
    recipe = torch_recipe(**whole)
    wrong = QuietAdaptiveClipping(epsilon=1.0, delta=1e-5, count_noise=20.0)
    options = {"delta": 1e-5, "count_noise": 20.0}
    return [
        torch_game("adaptive_clipping", {"epsilon": 1.0, **options}, "adaptive_clipping, ε = 1", **whole),
        torch_game("adaptive_clipping", {"epsilon": 4.0, **options}, "adaptive_clipping, ε = 4", **whole),
        Game("adaptive_clipping, a tenth of the noise", wrong.claim(recipe, BASE), torch_scores(wrong, recipe), True),
    ]


def idp_sgd() -> list[Game]:
    """Return individual budgets, the record being of the most generous group, by both methods."""
    groups = [k % 2 for k in range(BASE)] + [1]
    games = []
    for method in ("sample", "scale"):
        options = {"epsilons": [1.0, 2.0], "shares": [0.5, 0.5], "method": method, "groups": groups, "delta": 1e-5}
        games.append(torch_game("idp_sgd", options, f"idp_sgd, {method}, ε ≤ 2"))
    return games


def renyi_filter() -> list[Game]:
    """Return the Rényi filter."""
    return [torch_game("renyi_filter", {"epsilon": 2.0, "delta": 1e-5}, "renyi_filter, ε = 2", batch_size=BASE + 1)]


# Linear models: few records, so that one of them counts; the weight of its feature is the score.


def convex_game(kind: str, options: dict[str, Any], title: str, *, times: float = 1.0) -> Game:
    """Return the game of a private linear model, trained with ``times`` the ε that it claims."""
    from sklearn.linear_model import LogisticRegression

    from vestige.backends.sklearn import SklearnRecipe

    recipe = SklearnRecipe(estimator=LogisticRegression(), preprocess="none")
    claim = DEFENCES.create(kind, options).claim(recipe, BASE)
    wrapped = DEFENCES.create(kind, {**options, "epsilon": times * options["epsilon"]}).wrap(recipe, NONE)
    # Adding the record takes records enough that two digits of their number stay; exchanging it takes few.
    few = 4 if claim.adjacency == "replace_one" else BASE
    x = np.zeros((few + 2, 2))
    x[:few, 1] = np.where(np.arange(few) % 2, 1e-3, -1e-3)
    x[few:, 0] = 1.0
    y = np.append(np.arange(few) % 2, [1, 0])
    records = Records.build(x, y)
    with_it = np.append(np.arange(few), few)
    without = np.append(np.arange(few), few + 1) if claim.adjacency == "replace_one" else np.arange(few)

    def scores(included: NDArray[np.bool_], seeds: Sequence[int]) -> NDArray[np.float64]:
        found = [
            float(wrapped.fit(records, with_it if own else without, seed).estimator.coef_[0, 0])
            for own, seed in zip(included, seeds, strict=True)
        ]
        return np.array(found)

    return Game(title, claim, scores, broken=times > 1)


def convex(kind: str, *more: dict[str, Any], **shared: Any) -> Callable[[], list[Game]]:
    """Return the games of one private linear model: as it is, and with a tenth of the noise."""

    def games() -> list[Game]:
        made = []
        for extra in more or ({},):
            options = {"epsilon": 1.0, "fit_intercept": False, **shared, **extra}
            words = "".join(f", {name} = {value:g}" if isinstance(value, float) else f", {value}"
                            for name, value in extra.items())  # fmt: skip
            made.append(convex_game(kind, options, f"{kind}, ε = 1{words}"))
        made.append(convex_game(kind, options, f"{kind}{words}, a twentieth of the noise", times=20.0))
        return made

    return games


def private_prediction() -> list[Game]:
    """Return one private answer about the record, by a model that remembers labels."""
    from vestige.defend.answers.private_prediction import PrivatePrediction
    from vestige.defend.tickets import Tickets
    from vestige.target import Outputs

    def game(epsilon: float, times: float, title: str) -> Game:
        defence = PrivatePrediction(epsilon=times * epsilon, answers=1)
        claim = PrivatePrediction(epsilon=epsilon, answers=1).claim(1, 2)

        def scores(included: NDArray[np.bool_], seeds: Sequence[int]) -> NDArray[np.float64]:
            found = []
            for own, seed in zip(included, seeds, strict=True):
                answers = defence.prepare(None)  # type: ignore[arg-type]
                logits = np.array([[0.0, 9.0] if own else [9.0, 0.0]])
                asked = Tickets(np.ones((1, 2)), seed.to_bytes(8, "big", signed=True))
                found.append(float(answers.apply(Outputs("logits", logits), asked).values[0]))
            return np.array(found)

        return Game(title, claim, scores, broken=times > 1)

    return [game(1.0, 1.0, "private_prediction, ε = 1"), game(1.0, 10.0, "private_prediction, a tenth of the noise")]


def pate() -> list[Game]:
    """Return PATE whose teachers are nearest neighbours: one label decides all votes of one teacher."""
    from sklearn.neighbors import KNeighborsClassifier

    from vestige.backends.sklearn import SklearnRecipe

    def game(times: float, title: str) -> Game:
        options = {"teachers": 2, "queries": 4, "delta": 1e-5}
        recipe = SklearnRecipe(estimator=KNeighborsClassifier(1), preprocess="none")
        claim = DEFENCES.create("pate", {**options, "epsilon": 1.0}).claim(recipe, 8)
        x = np.zeros((13, 1))
        x[:8, 0], x[8] = [0, 10, 0, 10, 0, 10, 0, 10], 5.0
        x[9:, 0] = 5.0
        records = Records.build(x, np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 0, 1]))
        wrapped = DEFENCES.create("pate", {**options, "epsilon": times}).wrap(recipe, np.arange(9, 13))

        def scores(included: NDArray[np.bool_], seeds: Sequence[int]) -> NDArray[np.float64]:
            from vestige.target import Access

            found = []
            for own, seed in zip(included, seeds, strict=True):
                target = wrapped.fit(records, np.arange(9 if own else 8), seed)
                found.append(float((target.query(records.x[9:], Access.LABEL).values == 1).mean()))
            return np.array(found)

        return Game(title, claim, scores, broken=times > 1)

    return [game(1.0, "pate, ε = 1"), game(20.0, "pate, a twentieth of the budget's noise")]


GAMES: dict[str, Callable[[], list[Game]]] = {
    "dp_sgd": dp_sgd,
    "adaptive_clipping": adaptive_clipping,
    "idp_sgd": idp_sgd,
    "renyi_filter": renyi_filter,
    "dp_erm_output": convex("dp_erm_output", {}, {"delta": 1e-5}, regularization=0.1),
    "dp_erm_objective": convex("dp_erm_objective", {}, {"delta": 1e-5}, regularization=0.1),
    "amp": convex("amp", {"mode": "paper"}, {"mode": "rdp"}, delta=1e-5, regularization=0.1),
    "frank_wolfe": convex("frank_wolfe", delta=1e-5, steps=2),
    "private_prediction": private_prediction,
    "pate": pate,
}


def render(found: list[Played]) -> str:
    """Return the table, in Markdown."""
    titles = (
        "mechanism",
        "claimed ε",
        "δ",
        "repeats × trainings",
        "median ε ≥",
        "largest ε ≥",
        "above the claim",
        "by a Gaussian's fit: median, largest, above",
    )
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for one in sorted(found, key=lambda one: one.broken):
        line = (
            f"| {one.name}{' (broken: must be refuted)' if one.broken else ''} | {one.claimed:g} | {one.delta:g} | "
            f"{len(one.bounds)} × {one.trainings} | {np.median(one.bounds):.2f} | {max(one.bounds):.2f} | "
            f"{one.above} of {len(one.bounds)} | {fit_of(one)} |"
        )
        lines += [line]
    return "\n".join(lines)


def fit_of(one: Played) -> str:
    """Return the fits in a cell."""
    if not one.fitted:
        return ""
    return f"{np.median(one.fitted):.2f}, {max(one.fitted):.2f}, {one.above_fitted} of {len(one.fitted)}"


if __name__ == "__main__":
    try:
        main()
    except VestigeError as error:
        sys.exit(f"{error} {error.hint or ''}")

"""Dropout and weight decay: the plainest ways to memorise less."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from vestige.backends.sklearn import SklearnRecipe
from vestige.backends.torch_options import resolve
from vestige.defend.base import Named, Trait
from vestige.defend.training.common import Unproven, number, torch_recipe
from vestige.defend.training.estimators import penalised
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.target import IntArray, Recipe

if TYPE_CHECKING:
    import torch
    from torch import nn

_WITHOUT = ("logistic", "resnet18")


@dataclass(frozen=True, kw_only=True)
class Dropout(Unproven):
    """Zeroes every hidden unit with probability ``share`` in each step of training, and never when answering.

    A named network gets it where its ``dropout`` option puts it: behind every hidden layer of an mlp, behind the
    fully connected ones of a cnn, inside the blocks of a wrn28-2. A factory of one's own gets the share in all of its
    dropout layers, or where it has none in front of every linear layer but the first. Inputs are kept whole. Nothing is
    guaranteed: it narrows the gap between training and test accuracy, and attacks with shadow models still find what
    is left. Salem et al. 2019, "ML-Leaks", NDSS, section V.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset()
    adaptive: ClassVar[tuple[Named, ...]] = ()
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = "Salem et al. 2019"

    share: float = 0.5

    def __post_init__(self) -> None:
        number("share", self.share, 0, 1, open_ends=True)

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe with dropout."""
        found = torch_recipe(recipe, "dropout")
        if isinstance(found.model, str) and ":" not in found.model:
            if found.model in _WITHOUT:
                raise ConfigError(
                    f"The model '{found.model}' has no hidden units to drop.", hint="Use mlp, cnn or wrn28-2."
                )
            return replace(found, dropout=self.share)
        factory = resolve(found.model) if isinstance(found.model, str) else found.model
        return replace(found, model=Dropped(factory, self.share))


@dataclass(frozen=True)
class Dropped:
    """A factory whose modules have dropout."""

    factory: Callable[..., Any]
    share: float

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.factory)

    def __call__(self, *arguments: Any) -> Any:
        """Build a module; raises ConfigError for one without a place for dropout."""
        from torch import nn

        module = self.factory(*arguments)
        if not isinstance(module, nn.Module):
            return module
        kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
        own = [part for part in module.modules() if isinstance(part, kinds)]
        for part in own:
            part.p = self.share
        if not own:
            self._insert(module)
        return module

    def _insert(self, module: nn.Module) -> None:
        from torch import nn

        places = [
            (parent, name, child)
            for parent in module.modules()
            for name, child in parent.named_children()
            if type(child) is nn.Linear
        ]
        layered = any(isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Embedding) for part in module.modules())
        chosen = places if layered else places[1:]
        if not chosen:
            raise ConfigError("The module of this recipe has no dropout layer, and no linear layer to put one before.")
        for parent, name, child in chosen:
            setattr(parent, name, nn.Sequential(nn.Dropout(self.share), child))


@dataclass(frozen=True, kw_only=True)
class L2(Unproven):
    """Pulls every parameter towards zero: the weight decay of the optimiser becomes ``weight``.

    All parameters decay, biases and normalisation included, as weight decay does in torch. A recipe with Adam trains
    with AdamW, so that the decay is the same for every parameter. An estimator gets its own quadratic penalty: alpha,
    reg_lambda or l2_regularization = ``weight``, or C = 1/``weight``, in the units that the estimator has. Nothing is
    guaranteed; 5e-4 to 1e-2 is the useful range, and of the plain defences only strong decay was found to help against
    label-only attacks. Choquette-Choo, Tramèr, Carlini & Papernot 2021, "Label-Only Membership Inference Attacks",
    ICML, section 6.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset()
    adaptive: ClassVar[tuple[Named, ...]] = ()
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = "Choquette-Choo et al. 2021"

    weight: float = 5e-3

    def __post_init__(self) -> None:
        number("weight", self.weight, 0, float("inf"))

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe with that decay."""
        if isinstance(recipe, SklearnRecipe):
            return penalised(recipe, self.weight)
        found = torch_recipe(recipe, "l2")
        if not isinstance(found.optimizer, str):
            return replace(found, optimizer=Decayed(found.optimizer, self.weight))
        optimizer = "adamw" if found.optimizer == "adam" else found.optimizer
        return replace(found, optimizer=optimizer, weight_decay=self.weight)


@dataclass(frozen=True)
class Decayed:
    """An optimiser of one's own, with the weight decay of every group set."""

    make: Callable[[Any], torch.optim.Optimizer]
    weight: float

    def __call__(self, parameters: Any) -> torch.optim.Optimizer:
        """Build the optimiser; raises ConfigError for one without weight decay."""
        optimiser = self.make(parameters)
        for group in optimiser.param_groups:
            if "weight_decay" not in group:
                raise ConfigError(f"The optimiser {type(optimiser).__name__} has no weight decay for 'l2' to set.")
            group["weight_decay"] = self.weight
        return optimiser

"""A torch recipe applied to records: arrays, structure, and everything a training run needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from vestige.backends import architectures
from vestige.backends.augmentations import AUGMENTATIONS
from vestige.backends.chunks import chunk_of
from vestige.backends.ensemble import Plan, structure
from vestige.backends.ensemble.graph import Graph
from vestige.backends.ensemble.losses import CrossEntropy, Loss, OwnLoss, SquaredError
from vestige.backends.ensemble.objectives import loss_of
from vestige.backends.ensemble.optimisers import Optimiser
from vestige.backends.estimators import said
from vestige.backends.features import Features, fit_features
from vestige.backends.objectives import Objective
from vestige.backends.schedules import SCHEDULES
from vestige.backends.table_noise import TableNoise
from vestige.backends.torch_options import resolve
from vestige.backends.torch_target import TorchTarget
from vestige.errors import ConfigError, DataError, ModelError
from vestige.records import Records

if TYPE_CHECKING:
    from vestige.backends.torch import TorchRecipe

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Image = Literal["none", "add_channel", "channels_last"]
DEPTHS = (1, 3, 4)
GPU_CHUNK = 64
NAMED_OPTIONS = ("hidden", "channels", "norm", "activation", "dropout", "confidence")


@dataclass(frozen=True, eq=False)
class Setup:
    """One recipe, one pool of records."""

    plan: Plan
    graph: Graph | None
    features: Features
    classes: int
    parameters: int

    @classmethod
    def of(cls, recipe: TorchRecipe, records: Records) -> Setup:
        """Encode the records and read the module's structure; raises what `TorchRecipe.fit` documents."""
        device = _device(recipe.device)
        outputs = len(records.classes) if records.task == "classification" else 1
        features, build = _arranged(recipe, records, outputs)
        raw = features.bytes_of(records.x)
        x = torch.from_numpy(np.array(features(records.x) if raw is None else raw)).to(device)
        scale = None if raw is None or features.scale is None else float(features.scale)
        plan = Plan(
            x=x,
            y=_labels(records).to(device),
            build=build,
            optimiser=Optimiser(
                kind=recipe.optimizer,  # type: ignore[arg-type]
                lr=recipe.lr,
                momentum=recipe.momentum,
                weight_decay=recipe.weight_decay,
                nesterov=recipe.nesterov,
            ),
            loss=_loss(recipe, records),
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            multiplier=SCHEDULES[recipe.schedule] if isinstance(recipe.schedule, str) else recipe.schedule,
            augment=_augment(recipe, x, scale),
            device=device,
            mixup=recipe.mixup,
            stopping=recipe.stopping,
            byte_scale=scale,
        )
        with torch.random.fork_rng(devices=[]):
            parameters = sum(p.numel() for p in build().parameters())
        return cls(plan, structure(plan), features, len(records.classes), parameters)

    def target(self, state: dict[str, torch.Tensor]) -> TorchTarget:
        """Return a trained model as a target."""
        return TorchTarget(
            build=self.plan.build,
            state=state,
            classes=self.classes,
            features=self.features,
            graph=self.graph,
            device=self.plan.device,
        )

    def chunk(self) -> int:
        """Return how many models to stack: as many as share the caches, one when layers alone fill them."""
        if self.graph is None:
            return 1
        if self.plan.device.type != "cpu":
            return GPU_CHUNK
        return 1 if self.graph.has("convolution") else chunk_of(self.parameters)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise ConfigError(
            f"The device '{name}' cannot be used here: {str(error).splitlines()[0].rstrip('.')}.",
            hint="Set device = 'auto', or 'cpu'.",
        ) from error
    return device


def _labels(records: Records) -> torch.Tensor:
    y = np.array(records.y)
    return torch.from_numpy(y.astype(np.int64 if records.task == "classification" else np.float32))


def _loss(recipe: TorchRecipe, records: Records) -> Loss:
    if isinstance(recipe.loss, Objective):
        if records.task == "regression":
            raise ConfigError(
                "Softened labels and relaxed losses need classes, but these records have numbers as labels.",
                hint="Remove the defence.",
            )
        return loss_of(recipe.loss, len(records.classes))
    if not isinstance(recipe.loss, str):
        return OwnLoss(recipe.loss)
    if records.task == "regression":
        if recipe.loss == "cross_entropy":
            raise ConfigError(
                "Cross-entropy needs classes, but these records have numbers as labels.", hint="Set loss = 'mse'."
            )
        return SquaredError()
    return SquaredError() if recipe.loss == "mse" else CrossEntropy()


def _augment(recipe: TorchRecipe, x: torch.Tensor, scale: float | None) -> Augment | None:
    if isinstance(recipe.augment, TableNoise):
        return recipe.augment.bound(x if x.dtype != torch.uint8 else x.to(torch.float32) * (scale or 1.0))
    if not isinstance(recipe.augment, str):
        return recipe.augment
    if recipe.augment == "none":
        return None
    if x.dim() < 3:
        raise ConfigError(
            f"The augmentation '{recipe.augment}' needs images, but each record has shape {tuple(x.shape[1:])}.",
            hint="Set augment = 'none'.",
        )
    return AUGMENTATIONS[recipe.augment]


def _arranged(recipe: TorchRecipe, records: Records, outputs: int) -> tuple[Features, Callable[[], nn.Module]]:
    """Find the layout of the records that the model can read, and what builds the model for it."""
    named = isinstance(recipe.model, str) and ":" not in recipe.model
    images: list[Image] = ["none", *_image_layouts(records.x)]
    if named:
        wants = architectures.ARCHITECTURES[str(recipe.model)].images
        images = [images[-1]] if wants else ["none"]
    failures = []
    for image in images:
        for integers in (True, False) if not named and _whole_numbers(records.x) else (False,):
            features = fit_features(records.x, recipe.normalize, image=image, integers=integers)
            first = features(records.x[:3] if not hasattr(records.x, "iloc") else records.x.iloc[:3])
            build = _builder(recipe, tuple(first.shape[1:]), outputs)
            with torch.random.fork_rng(devices=[]):
                module = build()
            if integers != any(isinstance(m, nn.Embedding) for m in module.modules()) and integers:
                continue
            error = _trial(module, torch.from_numpy(first), records, outputs)
            if error is None:
                return features, build
            failures.append(error)
    raise failures[0]


def _whole_numbers(x: Any) -> bool:
    return not hasattr(x, "iloc") and np.asarray(x).dtype.kind in "iu"


def _image_layouts(x: Any) -> list[Image]:
    if hasattr(x, "iloc"):
        return []
    shape = np.asarray(x).shape[1:]
    if len(shape) == 2:
        return ["add_channel"]
    return ["channels_last"] if len(shape) == 3 and shape[-1] in DEPTHS and shape[0] not in DEPTHS else []


def _builder(recipe: TorchRecipe, shape: tuple[int, ...], outputs: int) -> Callable[[], nn.Module]:
    if isinstance(recipe.model, str) and ":" not in recipe.model:
        name = recipe.model
        options = {k: getattr(recipe, k) for k in NAMED_OPTIONS}
        return lambda: architectures.build(name, shape, outputs, options)
    factory = resolve(recipe.model) if isinstance(recipe.model, str) else recipe.model
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:
        parameters = {}.values()
    needed = sum(
        1 for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    )
    if needed not in (0, 2):
        raise ConfigError(
            f"Expected a model factory that takes nothing or (input_shape, classes), got one with {needed} argument(s)."
        )

    def build() -> nn.Module:
        try:
            module = factory(shape, outputs) if needed == 2 else factory()
        except Exception as error:  # whatever the user's own factory raises
            raise ConfigError(
                f"The model factory {getattr(factory, '__qualname__', factory)} failed: {said(error)}.",
                hint="Call it yourself to see where; it takes nothing or (input_shape, classes).",
            ) from error
        if not isinstance(module, nn.Module):
            raise ConfigError(f"Expected the model factory to return a torch module, got {type(module).__name__}.")
        return module

    return build


def _trial(module: nn.Module, x: torch.Tensor, records: Records, outputs: int) -> ModelError | None:
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            answer = module.eval()(x)
    except Exception as error:  # whatever the user's own forward raises
        return ModelError(
            f"The model could not answer a batch of shape {tuple(x.shape)}: {said(error)}.",
            hint="Its first layer must fit the records.",
        )
    if not isinstance(answer, torch.Tensor):
        return ModelError(f"Expected the model to return a tensor, got {type(answer).__name__}.")
    width = answer.shape[1] if answer.dim() == 2 else 1 if answer.dim() == 1 else -1
    allowed = {outputs, 1} if outputs <= 2 else {outputs}
    if len(answer) != len(x) or width not in allowed:
        what = f"{outputs} classes" if records.task == "classification" else "one number each"
        return ModelError(
            f"Expected answers for {len(x)} records and {what}, got an output of shape {tuple(answer.shape)}.",
            hint="The last layer needs one output per class, or one for a regression.",
        )
    if len(records.classes) and int(np.asarray(records.y).max(initial=0)) >= len(records.classes):
        raise DataError("Expected labels below the number of classes.")
    return None

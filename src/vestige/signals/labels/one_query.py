"""One query only once: ask about a record moved to where models that trained on it and models that did not disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vestige.errors import AccessError, MissingDependency, UsageError
from vestige.records import Records
from vestige.signals.base import Reference, Setting
from vestige.signals.labels.asking import Points, asker_of, box_of, matrix_of
from vestige.target import Access, BoolArray, FloatArray, IntArray, Target

if TYPE_CHECKING:
    import torch

BLOCK = 512
PAPER_MODELS = 16


@dataclass(frozen=True, kw_only=True)
class OneQuery:
    """Move each record until shadow models without it change their label, and ask the target about that point once.

    Returns (R, 2): whether the target still gives the true label, and how sure the shadow models without the record are
    of another label there (the mean margin), which orders equal answers. ``online``: models with the record must keep
    the label too; otherwise the point must stay near the record. ``models``: at most, of each kind; ``steps`` of
    gradient descent of length ``rate``, in units of the features' spread and kept inside the box of the pool;
    ``weight`` and ``enough``: the paper's α and stopping threshold, by default 2 and 4 online, 5 and 8 offline.
    """

    access: ClassVar[Access] = Access.LABEL
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    knows: ClassVar[tuple[str, ...]] = ("gradients of the shadow models",)
    online: bool = False
    models: int = 16
    steps: int = 50
    rate: float = 0.01
    weight: float | None = None
    enough: float | None = None

    def __post_init__(self) -> None:
        if min(self.models, self.steps) < 1 or not self.rate > 0:
            raise UsageError(
                f"Expected models ≥ 1, steps ≥ 1 and a rate above 0, got {self.models}, {self.steps}, {self.rate}."
            )

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Craft every record's point on the shadow models, then ask the target about it."""
        records, rows = setting.records, setting.rows
        x, y = matrix_of(records, rows), np.asarray(records.y[rows], np.int64)
        low, high = box_of(records)
        masks = np.stack([one.mask[rows] for one in setting.references]) if setting.references else None
        if masks is None or not (~masks).any(axis=0).all():
            raise UsageError(
                "Each record needs a shadow model that did not train on it.", hint="Train more shadow models."
            )
        networks = [_network(one) for one in setting.references]
        moved, margin = np.empty_like(x), np.empty(len(rows))
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            moved[part], margin[part] = self._craft(networks, masks[:, part], x[part], y[part], low, high, records)
        labels = asker_of(target, records, len(rows)).labels(moved, np.arange(len(rows)))
        return np.column_stack([labels == y, margin])

    def _craft(
        self,
        networks: list[Any],
        masks: BoolArray,
        x: FloatArray,
        y: IntArray,
        low: FloatArray,
        high: FloatArray,
        records: Records,
    ) -> tuple[FloatArray, FloatArray]:
        import torch
        from torch.nn import functional as F

        shape = tuple(np.asarray(records.x).shape[1:])
        alpha = self.weight if self.weight is not None else (2.0 if self.online else 5.0)
        enough = self.enough if self.enough is not None else (4.0 if self.online else 8.0)
        kept_in = _first(masks, self.models) if self.online else np.zeros_like(masks)
        kept_out = _first(~masks, self.models)
        unit = torch.from_numpy(_unit(records, low, high))
        origin, truth = torch.from_numpy(x) / unit, torch.from_numpy(y)
        bottom, top = torch.from_numpy(low) / unit, torch.from_numpy(high) / unit
        networks = [_rescaled(net, unit, shape) for net in networks]
        point = origin.clone()
        open_ = torch.ones(len(y), dtype=torch.bool)
        with torch.no_grad():
            aims = [_other_label(net(origin), truth) for net in networks]
        inside, outside = torch.from_numpy(kept_in), torch.from_numpy(kept_out)
        count = outside.sum(dim=0).clamp(min=1)
        for _ in range(self.steps):
            leaf = point.clone().requires_grad_()
            total = leaf.new_zeros(len(y))
            for k, net in enumerate(networks):
                # A model is asked only where its answer counts: for records it has a side in, and that still move.
                at = torch.nonzero(open_ & (inside[k] | outside[k]))[:, 0]
                if not len(at):
                    continue
                answer = net(leaf[at])
                away = F.cross_entropy(answer, aims[k][at], reduction="none")
                cost = outside[k][at] * (alpha * away if self.online else away)
                if self.online:
                    cost = cost + inside[k][at] * F.cross_entropy(answer, truth[at], reduction="none")
                total = total.index_add(0, at, cost)
            if self.online:
                objective = total * 3 / (1 + alpha)
            else:
                near = count * alpha * ((leaf - origin) ** 2).mean(dim=1)
                objective = (total + near) * 6 / (1 + alpha)
            # The paper's threshold and rate are for sixteen models.
            objective = objective * (PAPER_MODELS / count)
            open_ &= objective.detach() > enough
            if not bool(open_.any()):
                break
            slope = torch.autograd.grad(objective.sum(), leaf)[0]
            stepped = torch.minimum(torch.maximum(point - self.rate * slope, bottom), top)
            point = torch.where(open_[:, None], stepped, point)
        with torch.no_grad():
            margins = torch.stack([_margin(net(point), truth) for net in networks]).numpy()
        weights = kept_out / kept_out.sum(axis=0, keepdims=True)
        moved = torch.minimum(torch.maximum(point * unit, torch.from_numpy(low)), torch.from_numpy(high))
        return moved.numpy(), (margins * weights).sum(axis=0)


def _unit(records: Records, low: Points, high: Points) -> Points:
    """Return what each feature is measured in: pixels in their common standard deviation, others in their range.

    The paper's rate and its weight on distance are for images of variance one; steps along pixels between 0 and 1 would
    be an order of magnitude too long, and bytes would not move at all.
    """
    x = np.asarray(records.x)
    span = np.full_like(low, x.std(dtype=np.float64)) if x.ndim > 2 else high - low
    unit: Points = np.where(span > 0, span, 1).astype(np.float32)
    return unit


def _rescaled(network: Any, unit: torch.Tensor, shape: tuple[int, ...]) -> Any:
    """Return the network as a map from records in these units."""
    return lambda x: network((x * unit).reshape(-1, *shape))


def _first(masks: BoolArray, count: int) -> BoolArray:
    """Return the first ``count`` true entries of each column."""
    chosen: BoolArray = masks & (np.cumsum(masks, axis=0) <= count)
    return chosen


def _network(reference: Reference) -> Any:
    """Return a differentiable map from raw records to logits."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependency("torch", extra="torch", purpose="Crafting a query on shadow models") from error
    target: Any = reference.target
    if getattr(target, "module", None) is None:
        raise AccessError(
            "This attack crafts its query by gradients of shadow models, which must be torch modules.",
            hint="Use the boundary attack for other models.",
        )
    module = target.module.eval()
    features = getattr(target, "features", None)
    shift = None if features is None or features.shift is None else torch.from_numpy(np.array(features.shift))
    scale = None if features is None or features.scale is None else torch.from_numpy(np.array(features.scale))

    def answer(raw: torch.Tensor) -> torch.Tensor:
        x = _arranged(raw, features)
        if shift is not None and scale is not None:
            x = (x - shift) * scale
        logits: torch.Tensor = module(x)
        if logits.dim() == 1:
            logits = logits[:, None]
        return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits

    return answer


def _arranged(raw: torch.Tensor, features: Any) -> torch.Tensor:
    kind = getattr(features, "image", "none")
    if kind == "add_channel":
        return raw[:, None]
    return raw.permute(0, 3, 1, 2) if kind == "channels_last" else raw


def _other_label(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return each model's own label where it is not the true one, else its second choice."""
    two = logits.detach().topk(2, dim=1).indices
    return two[:, 0].where(two[:, 0] != truth, two[:, 1])


def _margin(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return by how much the best other label beats the true one."""
    own = logits.gather(1, truth[:, None])[:, 0]
    others = logits.scatter(1, truth[:, None], float("-inf")).max(dim=1).values
    return others - own

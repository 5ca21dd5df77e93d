"""Run PrivacyGuard's own shadow training, LiRA and RMIA on location30, as its tutorials do, and print one line of JSON.

Run with an interpreter that can import `privacy_guard`. torchvision is only imported by PrivacyGuard for CIFAR; a stand-in is put in its
place where it cannot be imported.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
import types

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader


def _stand_in_for_torchvision() -> None:
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [n for n in sys.modules if n.startswith("torchvision")]:
            del sys.modules[name]
        root, transforms, datasets = (types.ModuleType(n) for n in ("torchvision", "torchvision.transforms", "torchvision.datasets"))
        transforms.Compose = datasets.CIFAR10 = object
        root.transforms, root.datasets = transforms, datasets
        sys.modules.update({"torchvision": root, "torchvision.transforms": transforms, "torchvision.datasets": datasets})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="npz with audit_x, audit_y, population_x, population_y")
    parser.add_argument("--models", type=int, default=65)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    _stand_in_for_torchvision()
    from privacy_guard.analysis.mia.aggregate_analysis_input import AggregationType
    from privacy_guard.analysis.mia.analysis_node import AnalysisNode
    from privacy_guard.attacks.lira_attack import LiraAttack
    from privacy_guard.attacks.rmia_attack import RmiaAttack
    from privacy_guard.shadow_model_training import dataset as shadow_data
    from privacy_guard.shadow_model_training import training

    arrays = np.load(options.data)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    start = time.perf_counter()
    audit = shadow_data.CustomDataset(arrays["audit_x"].astype(np.float32), arrays["audit_y"])
    population = shadow_data.CustomDataset(arrays["population_x"].astype(np.float32), arrays["population_y"])
    shadows, target = shadow_data.create_shadow_datasets(audit, options.models, seed=options.seed)
    splits = [*shadows, target]
    whole, outside = DataLoader(audit, batch_size=256), DataLoader(population, batch_size=256)

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(446, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 30))

    quiet = io.StringIO()
    models, training_seconds = [], 0.0
    with contextlib.redirect_stdout(quiet):
        for inside, _ in splits:
            began = time.perf_counter()
            model = make()
            training.train_model(
                model, DataLoader(inside, batch_size=64, shuffle=True), outside, epochs=options.epochs, device=torch.device("cpu")
            )
            training_seconds += time.perf_counter() - began
            models.append(model.eval())
        logits = np.stack([training.get_transformed_logits(m, whole, device=torch.device("cpu")) for m in models])
        frames = training.prepare_lira_data(
            target_logits=logits[-1], shadow_logits=logits[:-1], target_dataset=target, shadow_datasets=shadows
        )
        lira = LiraAttack(
            df_train_merge=frames[0], df_test_merge=frames[1], row_aggregation=AggregationType.MAX, user_id_key="user_id",
            online_attack=True, std_dev_type="mix",
        )  # fmt: skip
        found = lira.run_attack()
        AnalysisNode(analysis_input=found, delta=1e-5, n_users_for_eval=len(frames[1])).compute_outputs()
        softmax = np.stack([training.get_softmax_scores(m, whole, 2.0, torch.device("cpu")) for m in models], axis=-1)
        held = np.stack([training.get_softmax_scores(m, outside, 2.0, torch.device("cpu")) for m in models], axis=-1)
        rmia_frames = training.prepare_rmia_data(softmax[:, -1], held[:, -1], softmax[:, :-1], held[:, :-1], target, shadows)
        rmia = RmiaAttack(*rmia_frames, row_aggregation=AggregationType.MAX, online=True)
        ranked = rmia.run_attack()
        AnalysisNode(analysis_input=ranked, delta=1e-5, n_users_for_eval=len(rmia_frames[1])).compute_outputs()
    total = time.perf_counter() - start
    members = np.isin(np.arange(len(audit)), target[0].indices)
    print(
        json.dumps(
            {
                "peer": "PrivacyGuard",
                "total": total,
                "training": training_seconds,
                "models": len(models),
                "lira": figures(found.df_train_user.score.to_numpy(), found.df_test_user.score.to_numpy()),
                "rmia": figures(ranked.df_train_user.score.to_numpy(), ranked.df_test_user.score.to_numpy()),
                "test_accuracy": accuracy(models[-1], audit, ~members),
                "train_accuracy": accuracy(models[-1], audit, members),
            }
        )
    )


def accuracy(model: nn.Module, audit, mask: np.ndarray) -> float:
    x, y = audit.data[torch.from_numpy(mask)], audit.targets[torch.from_numpy(mask)]
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


def figures(inside: np.ndarray, outside: np.ndarray) -> dict[str, float]:
    """Judge scores by Vestige's conventions: ties together, no interpolation."""
    order = np.sort(outside)
    below = np.searchsorted(order, inside, "left") + 0.5 * (
        np.searchsorted(order, inside, "right") - np.searchsorted(order, inside, "left")
    )
    answer = {"auc": float(below.mean() / len(outside))}
    for fpr in (0.001, 0.01):
        threshold = order[len(order) - 1 - int(fpr * len(order))]
        answer[f"tpr@{fpr}"] = float((inside > threshold).mean())
    return answer


if __name__ == "__main__":
    main()

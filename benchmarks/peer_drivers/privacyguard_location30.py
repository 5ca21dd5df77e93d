"""Run PrivacyGuard's own shadow training, LiRA and RMIA on location30, as its tutorials do; print one line of JSON.

Needs an interpreter that can import `privacy_guard`. PrivacyGuard has no runner of its own, so the steps are its
tutorials': shadow sets, `train_model` (whose optimiser is fixed, and is the one wanted here), signals, both attacks,
and the analysis with its bootstraps. The seconds start after the imports.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time

import numpy as np
import result
import torch
import torchvision_stand_in
from torch import nn
from torch.utils.data import DataLoader

CPU = torch.device("cpu")
TEMPERATURE = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="npz with audit_x, audit_y, population_x, population_y")
    parser.add_argument("--shadows", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torchvision_stand_in.provide()
    from privacy_guard.analysis.mia.aggregate_analysis_input import AggregationType
    from privacy_guard.analysis.mia.analysis_node import AnalysisNode
    from privacy_guard.attacks.lira_attack import LiraAttack
    from privacy_guard.attacks.rmia_attack import RmiaAttack
    from privacy_guard.shadow_model_training import dataset as shadow_data
    from privacy_guard.shadow_model_training import training

    arrays = np.load(options.data)
    torch.manual_seed(options.seed)
    start = time.perf_counter()
    audit = shadow_data.CustomDataset(arrays["audit_x"].astype(np.float32), arrays["audit_y"])
    population = shadow_data.CustomDataset(arrays["population_x"].astype(np.float32), arrays["population_y"])
    shadows, target = shadow_data.create_shadow_datasets(audit, options.shadows + 1, seed=options.seed)
    splits = [*shadows, target]
    whole, outside = DataLoader(audit, batch_size=256), DataLoader(population, batch_size=256)
    classes = int(max(arrays["audit_y"].max(), arrays["population_y"].max())) + 1
    models, seconds = [], 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        for inside, _ in splits:
            began = time.perf_counter()
            model = network(arrays["audit_x"].shape[1], classes)
            loader = DataLoader(inside, batch_size=64, shuffle=True)
            training.train_model(model, loader, outside, epochs=options.epochs, device=CPU)
            seconds += time.perf_counter() - began
            models.append(model)
        logits = np.stack([training.get_transformed_logits(model, whole, device=CPU) for model in models])
        members, others, *_ = training.prepare_lira_data(
            target_logits=logits[-1], shadow_logits=logits[:-1], target_dataset=target, shadow_datasets=shadows
        )
        lira = LiraAttack(
            members, others, AggregationType.MAX, user_id_key="user_id", online_attack=True, std_dev_type="mix"
        ).run_attack()
        AnalysisNode(analysis_input=lira, delta=1e-5, n_users_for_eval=len(others)).compute_outputs()
        on_audit, on_population = (
            np.stack([training.get_softmax_scores(model, loader, TEMPERATURE, CPU) for model in models], axis=-1)
            for loader in (whole, outside)
        )
        frames = training.prepare_rmia_data(
            on_audit[:, -1], on_population[:, -1], on_audit[:, :-1], on_population[:, :-1], target, shadows
        )
        rmia = RmiaAttack(*frames, row_aggregation=AggregationType.MAX, online=True).run_attack()
        AnalysisNode(analysis_input=rmia, delta=1e-5, n_users_for_eval=len(frames[1])).compute_outputs()
    total = time.perf_counter() - start
    masks = np.stack([keep for _, keep in splits])
    seen, held = result.accuracies(models, masks, arrays["audit_x"].astype(np.float32), arrays["audit_y"])
    result.tell(
        "PrivacyGuard",
        total=total,
        training=seconds,
        models=len(models),
        lira=result.figures(lira.df_train_user.score.to_numpy(), lira.df_test_user.score.to_numpy()),
        rmia=result.figures(rmia.df_train_user.score.to_numpy(), rmia.df_test_user.score.to_numpy()),
        train_accuracy=seen,
        test_accuracy=held,
    )


def network(features: int, classes: int) -> nn.Module:
    """Return the network of the location30 audit."""
    return nn.Sequential(nn.Linear(features, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, classes))


if __name__ == "__main__":
    main()

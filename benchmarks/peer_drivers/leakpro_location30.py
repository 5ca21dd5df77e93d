"""Run LeakPro's LiRA and RMIA, online, on location30, as its image example does; print one line of JSON.

Needs an interpreter that can import `leakpro`. LeakPro wants its inputs on disk: the records, the target's weights and
metadata, a module with the network (this file), and a configuration; all are written to a temporary folder. Training
and evaluation are the user's to write: a plain DataLoader loop here, without a validation split, early stopping or a
progress bar. The seconds start after the imports, before the target is trained.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import joblib
import numpy as np
import result
import torch
import torchvision_stand_in
from torch import nn
from torch.utils.data import DataLoader

torchvision_stand_in.provide()
os.environ.setdefault("MPLBACKEND", "agg")

from leakpro import LeakPro  # noqa: E402
from leakpro.input_handler.abstract_input_handler import AbstractInputHandler  # noqa: E402
from leakpro.schemas import EvalOutput, TrainingOutput  # noqa: E402

HERE = Path(__file__).resolve()
SGD = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}


class Network(nn.Module):
    """The network of the location30 audit."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(446, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 30))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.layers(x)


class Rows(AbstractInputHandler, role="data"):
    """LeakPro's view of the records."""

    class UserDataset(AbstractInputHandler.UserDataset):
        """Features and labels, as they are."""

        def __init__(self, data: torch.Tensor, targets: torch.Tensor) -> None:
            self.data, self.targets = data, targets


class Loop(AbstractInputHandler, role="model"):
    """How every model is trained and evaluated, and what that took."""

    seconds: ClassVar[list[float]] = []
    trained: ClassVar[list[nn.Module]] = []

    def train(self, dataloader, model=None, criterion=None, optimizer=None, epochs=None) -> TrainingOutput:
        """Train ``model``: cosine schedule, accuracy and loss read every batch."""
        began = time.perf_counter()
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
        right, loss_sum, count = 0, 0.0, 1
        for _ in range(epochs):
            model.train()
            right, loss_sum, count = 0, 0.0, 0
            for inputs, labels in dataloader:
                optimizer.zero_grad()
                outputs = model(inputs)
                loss = criterion(outputs, labels)
                loss.backward()
                optimizer.step()
                right += outputs.argmax(dim=1).eq(labels).sum().item()
                loss_sum += loss.item() * len(labels)
                count += len(labels)
            schedule.step()
        Loop.seconds.append(time.perf_counter() - began)
        Loop.trained.append(model)
        return TrainingOutput(model=model, metrics=EvalOutput(accuracy=right / count, loss=loss_sum / count))

    def eval(self, loader, model, criterion) -> EvalOutput:
        """Return accuracy and loss on the loader's records."""
        model.eval()
        right, loss_sum, count = 0, 0.0, 0
        with torch.no_grad():
            for inputs, labels in loader:
                outputs = model(inputs)
                right += outputs.argmax(dim=1).eq(labels).sum().item()
                loss_sum += criterion(outputs, labels).item() * len(labels)
                count += len(labels)
        return EvalOutput(accuracy=right / count, loss=loss_sum / count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="npz with audit_x, audit_y (446 features, 30 classes)")
    parser.add_argument("--shadows", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    arrays = np.load(options.data)
    x, y = arrays["audit_x"].astype(np.float32), arrays["audit_y"].astype(np.int64)
    logging.disable(logging.CRITICAL)
    quiet = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        start = time.perf_counter()
        results = audit(Path(folder), torch.from_numpy(x), torch.from_numpy(y), options)
        total = time.perf_counter() - start
        masks = trained_on(Path(folder), len(x))
    found = {}
    for one in results:
        scores, truth = np.asarray(one.signal_values), np.asarray(one.true).astype(bool)
        found[one.result_name.lower()] = result.figures(scores[truth], scores[~truth])
    seen, held = result.accuracies(Loop.trained, masks, x, y)
    result.tell(
        "LeakPro",
        total=total,
        training=sum(Loop.seconds),
        models=len(Loop.trained),
        **found,
        train_accuracy=seen,
        test_accuracy=held,
    )


def audit(folder: Path, x: torch.Tensor, y: torch.Tensor, options: argparse.Namespace) -> list:
    """Train the target, write what LeakPro reads, and run its audit; the results in the order of the attacks."""
    torch.manual_seed(options.seed)
    order = np.random.default_rng(options.seed).permutation(len(x))
    inside, outside = np.sort(order[: len(x) // 2]), np.sort(order[len(x) // 2 :])
    population = Rows.UserDataset(x, y)
    loader = DataLoader(Rows.UserDataset(x[inside], y[inside]), batch_size=64, shuffle=True)
    held_out = DataLoader(Rows.UserDataset(x[outside], y[outside]), batch_size=64)
    model, criterion = Network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    trained = Loop().train(loader, model, criterion, optimizer, options.epochs)
    tested = Loop().eval(held_out, trained.model, criterion)
    target = folder / "target"
    target.mkdir()
    torch.save(trained.model.state_dict(), target / "target_model.pkl")
    metadata = LeakPro.make_mia_metadata(
        train_result=trained, optimizer=optimizer, loss_fn=criterion, dataloader=loader, test_result=tested,
        epochs=options.epochs, train_indices=inside, test_indices=outside, dataset_name="location30",
    )  # fmt: skip
    joblib.dump(metadata, target / "model_metadata.pkl")
    joblib.dump(population, folder / "population.pkl")
    shadows = {"online": True, "num_shadow_models": options.shadows, "training_data_fraction": 0.5}
    config = {
        "audit": {
            "random_seed": options.seed,
            "attack_list": [{"attack": "rmia", **shadows}, {"attack": "lira", **shadows}],
            "output_dir": str(folder / "output"),
            "attack_type": "mia",
            "data_modality": "tabular",
        },
        "target": {
            "module_path": str(HERE),
            "model_class": "Network",
            "target_folder": str(target),
            "data_path": str(folder / "population.pkl"),
        },
    }
    file = folder / "audit.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
    return LeakPro(Rows, str(file), model_handler=Loop).run_audit()


def trained_on(folder: Path, records: int) -> np.ndarray:
    """Return which records each model was trained on, the target first, from the metadata that LeakPro has written."""
    files = [folder / "target" / "model_metadata.pkl"]
    shadows = folder / "output" / "attack_objects" / "shadow_model"
    files += [shadows / f"metadata_{index}.pkl" for index in range(len(Loop.trained) - 1)]
    masks = np.zeros((len(files), records), bool)
    for mask, file in zip(masks, files, strict=True):
        mask[joblib.load(file).train_indices] = True
    return masks


if __name__ == "__main__":
    main()

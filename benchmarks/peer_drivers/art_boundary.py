"""Run ART's HopSkipJump on given records of a given network, one record after another; print one line of JSON.

Needs an interpreter with torch and adversarial-robustness-toolbox. The network, the records and their clip range come
in one npz file; the attack is used as ART's own label-only inference does, untargeted and in L2, and every question it
asks the network is counted. The seconds start after the imports and one untimed record.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from result import tell
from torch import nn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "data", help="npz with x and starts (R, 1, H, W), clip (2,) and the network's parameters by place"
    )
    parser.add_argument("--first", type=int, default=0, help="the first record to search around")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=10, help="ART's max_iter")
    parser.add_argument("--batch", type=int, default=64, help="ART's batch_size, 64 by its own default")
    parser.add_argument("--starts", action="store_true", help="begin at the starts of the file, not at noise")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    from art.attacks.evasion import HopSkipJump
    from art.estimators.classification import PyTorchClassifier

    arrays = np.load(options.data)
    module, x, (low, high) = network(arrays), arrays["x"], arrays["clip"]
    model = PyTorchClassifier(
        model=module.eval(),
        loss=nn.CrossEntropyLoss(),
        input_shape=x.shape[1:],
        nb_classes=int(arrays["classes"]),
        clip_values=(float(low), float(high)),
        device_type="cpu",
    )
    asked = counted(model)
    attack = HopSkipJump(
        model, batch_size=options.batch, targeted=False, norm=2, max_iter=options.iterations, verbose=False
    )
    np.random.seed(options.seed)  # noqa: NPY002 - the state that ART draws its directions from
    attack.generate(x[:1])
    distances, labels, seconds, cpu, queries = [], [], [], [], []
    for place in range(options.first, options.first + options.count):
        record = x[place]
        given = {"x_adv_init": arrays["starts"][place][None].copy()} if options.starts else {}
        before, start, used = asked[0], time.perf_counter(), time.process_time()
        found = attack.generate(record[None], **given)[0]
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
        # Its last question is only for a line in its log: whether the attack succeeded.
        queries.append(asked[0] - before)
        distances.append(float(np.linalg.norm((found - record).ravel())))
        with torch.no_grad():
            both = module(torch.from_numpy(np.stack([record, found]))).argmax(1)
        labels.append(bool(both[0] != both[1]))
    tell("ART", distances=distances, succeeded=labels, seconds=seconds, cpu=cpu, queries=queries)


def network(arrays: Any) -> nn.Module:
    """Return the small convolutional network whose parameters these are."""
    weights = [torch.from_numpy(arrays[f"parameter_{place}"]) for place in range(8)]
    first, second, hidden, last = (weights[place] for place in (0, 2, 4, 6))
    module = nn.Sequential(
        nn.Conv2d(first.shape[1], first.shape[0], 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(second.shape[1], second.shape[0], 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(hidden.shape[1], hidden.shape[0]), nn.ReLU(), nn.Linear(last.shape[1], last.shape[0]),
    )  # fmt: skip
    with torch.no_grad():
        for own, given in zip(module.parameters(), weights, strict=True):
            own.copy_(given)
    return module


def counted(model: Any) -> list[int]:
    """Count the records that the classifier is asked about, in the one number of the list returned.

    The attack's steps become doubles under numpy 2, which a network of floats refuses; it is asked in floats.
    """
    asked, plain = [0], model.predict

    def predict(x: np.ndarray, *args: Any, **options: Any) -> np.ndarray:
        asked[0] += len(x)
        return plain(x.astype(np.float32, copy=False), *args, **options)

    model.predict = predict
    return asked


if __name__ == "__main__":
    main()

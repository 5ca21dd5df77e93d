"""Audit a torch module of one's own: say how it is trained, and shadow models follow the same recipe."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import vestige


def make() -> nn.Module:
    """Build the untrained network."""
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))


X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
order = np.random.default_rng(0).permutation(len(X))
members, others = order[:800], order[800:1600]

# How the model below is trained, all of it: what a recipe leaves out (a schedule, weight decay) has defaults.
recipe = vestige.TorchRecipe(
    model=make, epochs=40, lr=0.1, momentum=0.9, batch_size=32, schedule="constant", weight_decay=0.0
)

torch.manual_seed(0)
model = make()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for _ in range(40):
    for batch in torch.randperm(len(members)).split(32):
        rows = members[batch.numpy()]
        loss = nn.functional.cross_entropy(model(torch.from_numpy(X[rows])), torch.from_numpy(y[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

log = vestige.audit(model.eval(), X[members], y[members], X[others], y[others], recipe=recipe, shadow=16)
log.report("audits/own_module.html")
print(log.summary())

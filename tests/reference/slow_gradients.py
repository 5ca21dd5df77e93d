"""Per-record gradients the obvious way: one record, one backward pass, one parameter after the other."""

import torch
from torch.nn import functional as F


def gradients(module, x, y):
    """Return a list, one per record, of {name: gradient of the record's cross-entropy}, in double precision."""
    module = module.double().eval()
    found = []
    for one, label in zip(x.double() if x.is_floating_point() else x, y, strict=True):
        answer = module(one[None])
        if answer.dim() == 1:
            answer = answer[:, None]
        if answer.shape[1] == 1:
            answer = torch.cat([torch.zeros_like(answer), answer], dim=1)
        loss = F.cross_entropy(answer, torch.tensor([int(label)]))
        names, weights = zip(*[(n, p) for n, p in module.named_parameters() if p.requires_grad], strict=True)
        each = torch.autograd.grad(loss, weights, allow_unused=True)
        found.append({n: torch.zeros_like(p) if g is None else g for n, p, g in zip(names, weights, each, strict=True)})
    return found


def norms(module, x, y):
    """Return (R, L): the length of the gradient by the parameters of each submodule that owns some."""
    rows = []
    for gradient in gradients(module, x, y):
        squares = {}
        for name, g in gradient.items():
            owner = name.rpartition(".")[0]
            squares[owner] = squares.get(owner, 0.0) + float(g.square().sum())
        rows.append([square**0.5 for square in squares.values()])
    return torch.tensor(rows).double().numpy()

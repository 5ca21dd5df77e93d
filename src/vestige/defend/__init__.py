"""Defences: some change how a model is trained (Recipe to Recipe), some what it answers (Outputs to Outputs).

Packages add theirs under the entry-point group ``vestige.defences``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vestige.registry import Registry, load

DEFENCES = Registry("defences", {
    "dp_sgd": "vestige.defend.private.dp_sgd:DPSGD",
    "adaptive_clipping": "vestige.defend.private.adaptive_clipping:AdaptiveClipping",
    "idp_sgd": "vestige.defend.private.idp_sgd:IDPSGD",
    "renyi_filter": "vestige.defend.private.renyi_filter:RenyiFilter",
    "pate": "vestige.defend.private.pate:PATE",
    "dp_erm_output": "vestige.defend.convex.defences:OutputPerturbation",
    "dp_erm_objective": "vestige.defend.convex.defences:ObjectivePerturbation",
    "amp": "vestige.defend.convex.defences:ApproximateMinima",
    "frank_wolfe": "vestige.defend.convex.defences:FrankWolfe",
    "dropout": "vestige.defend.training.regularise:Dropout",
    "l2": "vestige.defend.training.regularise:L2",
    "early_stopping": "vestige.defend.training.stopping:EarlyStopping",
    "label_smoothing": "vestige.defend.training.smoothing:LabelSmoothing",
    "confidence_penalty": "vestige.defend.training.smoothing:ConfidencePenalty",
    "augment": "vestige.defend.training.augment:Augment",
    "mixup": "vestige.defend.training.mixup:Mixup",
    "relaxloss": "vestige.defend.training.relaxloss:RelaxLoss",
    "hamp": "vestige.defend.training.hamp:HAMP",
    "mixup_mmd": "vestige.defend.training.mixup_mmd:MixupMMD",
    "stacking": "vestige.defend.training.stacking:Stacking",
    "adversarial_regularization": "vestige.defend.training.adversarial:AdversarialRegularization",
    "adversarial_training": "vestige.defend.training.robust:AdversarialTraining",
    "selena": "vestige.defend.training.selena:Selena",
    "dmp": "vestige.defend.training.dmp:DMP",
    "top_k": "vestige.defend.answers.truncation:TopK",
    "round": "vestige.defend.answers.rounding:Rounding",
    "label_only": "vestige.defend.answers.rounding:LabelOnly",
    "temperature": "vestige.defend.answers.softening:Temperature",
    "noise": "vestige.defend.answers.softening:OutputNoise",
    "memguard": "vestige.defend.answers.memguard:NoiseAtClassifier",
    "rank_release": "vestige.defend.answers.rank_release:RankRelease",
    "private_prediction": "vestige.defend.answers.private_prediction:PrivatePrediction",
})  # fmt: skip


def layers_of(tables: Iterable[Mapping[str, Any]]) -> Any:
    """Return the `Layers` that a config's [[defences]] tables name: ``kind`` and the defence's own parameters.

    Raises UsageError for an unknown name or parameter, ConfigError for layers that cannot stand together.
    """
    from vestige.defend.layers import Layers

    named = []
    for table in tables:
        options = dict(table)
        kind = str(options.pop("kind"))
        named.append((kind, DEFENCES.create(kind, options)))
    return Layers(tuple(named))


_LAZY = {
    "DiscreteGaussian": "vestige.defend.private.mechanisms:DiscreteGaussian",
    "DiscreteLaplace": "vestige.defend.private.mechanisms:DiscreteLaplace",
    "DPHuberSVM": "vestige.defend.convex.estimators:DPHuberSVM",
    "DPLogisticRegression": "vestige.defend.convex.estimators:DPLogisticRegression",
    "Gaussian": "vestige.defend.private.mechanisms:Gaussian",
    "Laplace": "vestige.defend.private.mechanisms:Laplace",
    "MemGuard": "vestige.defend.serving:MemGuard",
    "PrivacyBudget": "vestige.defend.private.budget:PrivacyBudget",
    "serve": "vestige.defend.serving:serve",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'vestige.defend' has no attribute '{name}'")
    return load(_LAZY[name])

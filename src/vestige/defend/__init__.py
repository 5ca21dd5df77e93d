"""Defences: some change how a model is trained (Recipe to Recipe), some what it answers (Outputs to Outputs).

None is built in yet; packages add theirs under the entry-point group ``vestige.defences``.
"""

from __future__ import annotations

from vestige.registry import Registry

DEFENCES = Registry("defences", {})

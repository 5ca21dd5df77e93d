"""YAML as people mean it: safe, without repeated keys, and with 5e-4 a number as it is in TOML."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """The safe loader, which builds plain data only."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode) or name.tag == "tag:yaml.org,2002:merge":
                continue
            if name.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{name.value}' is given twice", name.start_mark
                )
            seen.add(name.value)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes a number with an exponent and no point, or no sign after the e, for text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse(text: str) -> Any:
    """Return the document's plain data; raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506

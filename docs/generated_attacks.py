"""The pages of attacks: an index by access, and one page each, from its docstring, parameters and facts."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vestige.attacks import ATTACKS, BATTERIES, LABEL_ONLY, WHITE_BOX, AttackFacts
from vestige.attacks import facts as attack_facts
from vestige.target import Access

INDEX = """# Attacks

Each attack gives every record a score; larger scores always mean "more likely a member". `vestige list attacks` prints
the same facts, and more with `--json`.

An attack is named in a config, with parameters or without: `attacks = ["loss", { name = "lira", params = { variance =
"pooled" } }]`; in Python, `vestige.audit(…, attacks=[…])` takes the same. **Knowledge** is what the adversary has
besides access to the target, with default parameters; IN and OUT are shadow models that did and did not train on the
record in question. **Queries** are answers of the target for each record; augmented ones, which `[audit] queries` asks
for, come on top. A budget is `[audit] budget`.
"""
SEEN = {
    Access.LABEL: "The adversary sees the label that the target gives.",
    Access.SCORE: "The adversary sees the target's probabilities or logits.",
    Access.WHITE_BOX: "The adversary has the target's weights.",
}
BATTERY = """## Batteries

A battery is a list of attacks under one name: `attacks = "standard"`. It leaves out what cannot run on the target at
hand; an attack that was asked for by name and cannot run is in the log with its reason.

| battery | attacks |
|---|---|
"""
KINDS = {
    "": BATTERIES,
    ", where the adversary sees labels only": LABEL_ONLY,
    ", besides, where it has the weights": WHITE_BOX,
}
WORDS: dict[Any, str] = {bool: "true or false", int: "whole number", float: "number", str: "text"}
FOLDER = "attacks"


def plain(text: str | None) -> str:
    """Return a docstring as Markdown."""
    return inspect.cleandoc(text or "").replace("``", "`")


def index_page() -> str:
    known = [attack_facts(name) for name in ATTACKS.names()]
    lines = [INDEX]
    for access, about in SEEN.items():
        lines += [f"## {access.label.replace('_', ' ').capitalize()} access", "", about, ""]
        lines += ["| attack | what it does | knowledge | queries |", "|---|---|---|---|"]
        lines += [_row(one) for one in known if one.access == access.label] + [""]
    lines.append(BATTERY + "\n".join(_batteries()))
    entries = "\n".join(f"{FOLDER}/{one.name}" for one in known)
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", entries, "```", ""])


def _row(about: AttackFacts) -> str:
    cells = (f"[`{about.name}`]({FOLDER}/{about.name}.md)", plain(about.description), _known(about), about.queries)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _known(about: AttackFacts) -> str:
    return "; ".join(about.knowledge) or "nothing more"


def _batteries() -> list[str]:
    rows = []
    for words, batteries in KINDS.items():
        rows += [f"| `{name}`{words} | {', '.join(map(_entry, chosen))} |" for name, chosen in batteries.items()]
    return rows


def _entry(entry: Any) -> str:
    name = entry if isinstance(entry, str) else entry["name"]
    params = "" if isinstance(entry, str) else ", ".join(f"{key}={value}" for key, value in entry["params"].items())
    return f"[`{name}`]({FOLDER}/{name}.md)" + (f" ({params})" if params else "")


def attack_pages() -> dict[str, str]:
    """Return the text of every attack's page by the place it has under reference/."""
    return {f"{FOLDER}/{name}": attack_page(name) for name in ATTACKS.names()}


def attack_page(name: str) -> str:
    about, factory = attack_facts(name), ATTACKS.get(name)
    sure = f"access = {json.dumps(about.access)}\n" if about.access != Access.SCORE.label else ""
    lines = [f"# `{name}`", "", plain(factory.__doc__), "", *_inherited(name, about.params)]
    lines += ["## What the adversary has", ""]
    lines += [f"- access: {about.access}. {SEEN[Access.parse(about.access)]}", f"- knowledge: {_known(about)}"]
    lines += [f"- queries for each record: {about.queries}", f"- for: {' and '.join(about.tasks)}"]
    signals = ", ".join(f"`{key}`" for key in about.signals)
    lines += [f"- signals: {signals or 'none'}; see [signals](../plugins.md)", f"- batteries: {_in(name)}", ""]
    lines += ["## Use", "", "```toml", "[audit]", f"{sure}attacks = [{_toml(name, about.params)}]", "```", ""]
    if about.params:
        lines += ["## Parameters", "", *_parameters(name, factory, about.params), ""]
    return "\n".join([*lines, "## Paper", "", f"{about.paper}.", ""])


def _in(name: str) -> str:
    found = dict.fromkeys(
        f"`{battery}`{words}"
        for words, batteries in KINDS.items()
        for battery, chosen in batteries.items()
        if name in [entry if isinstance(entry, str) else entry["name"] for entry in chosen]
    )
    return "; ".join(found) or "none: name it to run it"


def _toml(name: str, params: dict[str, Any]) -> str:
    """Return the entry with its default parameters, but for those that TOML has no word for."""
    said = [f"{key} = {_literal(value)}" for key, value in params.items() if value is not None]
    if not said:
        return json.dumps(name)
    return f"{{ name = {json.dumps(name)}, params = {{ {', '.join(said)} }} }}"


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_literal(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _parameters(name: str, factory: Any, params: dict[str, Any]) -> list[str]:
    hints = get_type_hints(factory)
    lines = ["| name | values | default |", "|---|---|---|"]
    for key, value in params.items():
        default = "none" if value is None else f"`{_literal(value)}`"
        lines.append(f"| `{key}` | {_values(hints[key])} | {default} |")
    elsewhere: dict[str, list[str]] = {}
    for key in params:
        place = explained(name, key)
        if place not in ("", name):
            elsewhere.setdefault(place, []).append(f"`{key}`")
    return lines + [f"\n{', '.join(keys)}: see [`{place}`]({place}.md)." for place, keys in elsewhere.items()]


def _inherited(name: str, params: dict[str, Any]) -> list[str]:
    """Return what the classes an attack is made from, attacks themselves or not, say of parameters that it leaves."""
    left = [key for key in params if not explained(name, key)]
    bases = [base.__doc__ or "" for base in ATTACKS.get(name).__mro__[1:] if dataclasses.is_dataclass(base)]
    told = [doc for doc in bases if any(_explains(doc, key) for key in left)]
    return [text for doc in dict.fromkeys(told) for text in (plain(doc).partition("\n\n")[2], "")]


def _explains(text: str | None, parameter: str) -> bool:
    return re.search(rf"``{parameter}\b", text or "") is not None


def explained(name: str, parameter: str) -> str:
    """Return the attack whose page explains the parameter: this one, or the one it is a variant of; else nothing."""
    factory = ATTACKS.get(name)
    variants = [each for each in ATTACKS.names() if each != name and issubclass(factory, ATTACKS.get(each))]
    for place in (name, *variants):
        if _explains(ATTACKS.get(place).__doc__, parameter):
            return place
    return ""


def _values(kind: Any) -> str:
    """Return the values that an annotation allows, in words."""
    origin = get_origin(kind)
    if origin is Literal:
        return ", ".join(f"`{_literal(value)}`" for value in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(_values(one) for one in get_args(kind))
    if kind is NoneType:
        return "none"
    if origin in (tuple, list):
        return f"a list of {_values(get_args(kind)[0])}s" if get_args(kind) else "a list"
    return WORDS.get(kind, "a table" if dataclasses.is_dataclass(kind) or origin is dict else "value")

"""The pages of defences: an index by stage, and one page each, from its docstring, parameters and facts."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from generated_attacks import _literal, _values, plain

from vestige.defend import DEFENCES
from vestige.defend.facts import STAGES, TRAITS, DefenceFacts
from vestige.defend.facts import facts as defence_facts

FOLDER = "defences"
INDEX = """# Defences

A defence is a `[[defences]]` table of a config: its `kind`, and its own parameters. Several stand in order, those that
change the training before those that change the answers; what would void another's promise is refused with the reason.
`vestige list defences` prints the same facts, and more with `--json`; [Trading utility for leakage](../tradeoff.md)
compares them.

| class | what is guaranteed |
|---|---|
| G1 | the released weights are differentially private, whatever an attacker sees of them |
| G2 | the answers are differentially private, as long as the budget lasts |
| G3 | a formal bound on lost utility, and none on leakage |
| G4 | nothing but what attacks found |
"""
ABOUT = {
    "couples records": "in training, what one record adds depends on other records, which voids the differential "
    "privacy of a layer that clips",
    "clips records": "each record's gradient is bounded by itself, so the loss must be a sum over records",
    "replaces the training": "it trains in a way of its own, so that no loss of a later layer survives it",
    "reads members at serving": "its answers depend on the training records other than through the model",
    "keeps the label": "the class with the largest score never changes",
}
HEADINGS = {"training": "Training", "answers": "Answers"}


def index_page() -> str:
    known = [defence_facts(name) for name in DEFENCES.names()]
    lines = [INDEX]
    for stage, about in STAGES.items():
        lines += [f"## {HEADINGS[stage]}", "", f"Each {about}.", ""]
        lines += ["| defence | what it does | class | traits |", "|---|---|---|---|"]
        lines += [_row(one) for one in known if one.stage == stage] + [""]
    lines += ["## Traits", "", *(f"- **{words}**: {ABOUT[words]}" for words in TRAITS.values())]
    entries = "\n".join(f"{FOLDER}/{one.name}" for one in known)
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", entries, "```", ""])


def _row(about: DefenceFacts) -> str:
    cells = (
        f"[`{about.name}`]({FOLDER}/{about.name}.md)",
        plain(about.description),
        about.guarantee,
        "; ".join(about.traits) or "none",
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def defence_pages() -> dict[str, str]:
    """Return the text of every defence's page by the place it has under reference/."""
    return {f"{FOLDER}/{name}": defence_page(name) for name in DEFENCES.names()}


def defence_page(name: str) -> str:
    about, factory = defence_facts(name), DEFENCES.get(name)
    aimed = ", ".join(f"[`{one}`](../attacks/{one}.md)" for one in about.adaptive)
    lines = [f"# `{name}`", "", plain(factory.__doc__), "", *_inherited(factory), "## Facts", ""]
    lines += [f"- stage: {about.stage}; it {STAGES[about.stage]}", f"- guarantee: {about.guarantee}"]
    lines += [f"- traits: {'; '.join(about.traits) or 'none'}; see [defences](../defences.md)"]
    lines += [f"- records of the defender's own: {'needed' if about.reserve else 'not needed'}"]
    lines += [f"- attacks that aim at it: {aimed or 'none of its own'}", ""]
    lines += ["## Use", "", "```toml", "[[defences]]", f'kind = "{name}"', *_toml(about.params), "```", ""]
    if about.params:
        lines += ["## Parameters", "", *_parameters(factory, about.params), ""]
    return "\n".join([*lines, "## Paper", "", f"{about.paper}.", ""])


def _inherited(factory: Any) -> list[str]:
    """Return what the classes a defence is made from say of parameters that its own text leaves out."""
    own = factory.__doc__ or ""
    left = [field.name for field in dataclasses.fields(factory) if field.init and f"``{field.name}" not in own]
    docs = [base.__doc__ or "" for base in factory.__mro__[1:] if dataclasses.is_dataclass(base)]
    told = [doc for doc in docs if any(f"``{name}" in doc for name in left)]
    return [text for doc in dict.fromkeys(told) for text in (plain(doc).partition("\n\n")[2], "")]


def _toml(params: dict[str, Any]) -> list[str]:
    return [f"{key} = {_literal(value)}" for key, value in params.items() if value is not None]


def _parameters(factory: Any, params: dict[str, Any]) -> list[str]:
    hints = get_type_hints(factory)
    lines = ["| name | values | default |", "|---|---|---|"]
    for key, value in params.items():
        default = "none" if value is None else f"`{_literal(value)}`"
        lines.append(f"| `{key}` | {_values(hints[key])} | {default} |")
    return lines

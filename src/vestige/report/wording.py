"""Figures in words: percentages, intervals, durations and sizes, written the same way in every format."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vestige.log import AuditLog, Figure

ACCESS = {
    "label": "sees only predicted labels",
    "score": "sees scores",
    "white_box": "sees the model's weights",
}


def confidence(log: AuditLog) -> float:
    """Return the confidence level of the log's intervals: the one configured, 0.95 unless told otherwise."""
    section = log.config.get("audit")
    value = section.get("confidence") if isinstance(section, dict) else None
    return float(value) if isinstance(value, (int, float)) and 0 < value < 1 else 0.95


def rate(share: float) -> str:
    """Write a rate that somebody chose, exactly: 0.001 → ``0.1 %``."""
    return f"{100 * share:.10g} %"


def model_kind(name: str) -> str:
    """Write the kind of a model for a reader, also where the log names a class: ``TorchRecipe`` → ``torch``."""
    return (name.removesuffix("Recipe").removesuffix("Target") or name).lower()


def _places(share: float, table: bool) -> int:
    """Return how many decimals a percentage gets: two significant digits, and in tables at least one decimal."""
    percentage = abs(100 * share)
    if percentage in (0, 100):
        return 0
    places = max(int(table), min(4, 1 - math.floor(math.log10(percentage))))
    while places < 4 and percentage < 100 and float(f"{percentage:.{places}f}") >= 100:
        places += 1
    return places


def percent(share: float, table: bool = False) -> str:
    """Write a measured share: ``22 %``, ``1.3 %``, ``0.13 %``, in tables ``22.1 %``; never rounds up to 100 %."""
    return f"{100 * share:.{_places(share, table)}f} %"


def span(figure: Figure, table: bool = False) -> str:
    """Write a share's interval with one percent sign (``18–26 %``); empty when there is none."""
    if figure.value is None or figure.low is None or figure.high is None:
        return ""
    places = _places(figure.value or figure.high, table)
    return f"{100 * figure.low:.{places}f}–{100 * figure.high:.{places}f} %"


def share(figure: Figure) -> str:
    """Write a share and its interval in percent without the sign: ``22.1 [18.4, 26.2]``."""
    if figure.value is None:
        return "withheld" if figure.reason else "–"
    places = _places(figure.value or figure.high or 0.0, table=True)
    text = f"{100 * figure.value:.{places}f}"
    if figure.low is None or figure.high is None:
        return text
    return f"{text} [{100 * figure.low:.{places}f}, {100 * figure.high:.{places}f}]"


def number(figure: Figure, places: int = 3) -> str:
    """Write a figure and its interval: ``0.861 [0.853, 0.869]``."""
    if figure.value is None:
        return "withheld" if figure.reason else "–"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.{places}f}"
    return f"{figure.value:.{places}f} [{figure.low:.{places}f}, {figure.high:.{places}f}]"


def duration(seconds: float) -> str:
    """Write seconds for a reader: ``0.24 s``, ``38 s``, ``3 min 12 s``, ``2 h 5 min``."""
    if seconds < 0.095:
        return f"{1000 * seconds:.0f} ms" if seconds >= 0.001 else "0 s" if seconds == 0 else "< 1 ms"
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(megabytes: float) -> str:
    """Write a size given in megabytes."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def count(n: int, noun: str, plural: str = "") -> str:
    """Write ``1 attack``, ``12 attacks``, ``4,000 records``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def listed(items: Sequence[str], last: str = "and") -> str:
    """Join words as in a sentence: ``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def sentence(text: str) -> str:
    """Return text that starts with a capital and ends in a full stop, so that several can follow each other."""
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?" else f"{text}."

"""A small drawing surface: axes in data units, marks as SVG elements; colours and dashes are the style sheet's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup

Anchor = Literal["start", "middle", "end"]
Points = Sequence[tuple[float, float]]

CHARACTER = 6.7
"""Mean width of a character of tick text, in user units: generous, as the font is the reader's own."""


def shortened(text: str, characters: int) -> str:
    """Return text cut to so many characters, the last one an ellipsis if any were lost."""
    return text if len(text) <= characters else f"{text[: characters - 1].rstrip()}…"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A map from data to user units; values beyond the ends are drawn at the ends."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return where a value is drawn."""
        value = min(max(value, self.low), self.high)
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Return round values: the decades of a log axis, else steps of 1, 2 or 5 times a power of ten."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**k for k in range(first, last + 1)]
        raw = (self.high - self.low) / max(1, about)
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def minor(self) -> list[float]:
        """Return the values between the decades of a log axis."""
        if not self.log:
            return []
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        values = [m * 10.0**k for k in range(first, last) for m in range(2, 10)]
        return [v for v in values if self.low <= v <= self.high]


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@dataclass(kw_only=True)
class Plot:
    """One chart under construction; ``svg`` closes it with a title and a description for those who cannot see it."""

    name: str
    width: float = 460
    height: float = 320
    parts: list[Markup] = field(default_factory=list)

    def add(self, template: str, *values: object) -> None:
        """Add an element; values are escaped, the template is not."""
        self.parts.append(Markup(template).format(*values))

    def text(
        self, x: float, y: float, words: str, style: str = "tick", anchor: Anchor = "middle", full: str = ""
    ) -> None:
        """Write words at a point; ``full`` is what they were cut from."""
        hint = Markup("<title>{}</title>").format(full) if full and full != words else ""
        self.add(
            '<text class="{}" x="{}" y="{}" text-anchor="{}">{}{}</text>', style, _n(x), _n(y), anchor, words, hint
        )

    def line(self, points: Points, style: str) -> None:
        """Join points, given in user units."""
        if len(points) < 2:
            return
        self.add('<polyline class="{}" points="{}"/>', style, " ".join(f"{_n(x)},{_n(y)}" for x, y in points))

    def area(self, points: Points, style: str) -> None:
        """Fill the polygon through points."""
        self.add('<polygon class="{}" points="{}"/>', style, " ".join(f"{_n(x)},{_n(y)}" for x, y in points))

    def box(self, x: float, y: float, width: float, height: float, style: str, hint: str = "") -> None:
        """Draw a rectangle."""
        self.add(
            '<rect class="{}" x="{}" y="{}" width="{}" height="{}">{}</rect>',
            style, _n(x), _n(y), _n(max(0.0, width)), _n(max(0.0, height)),
            Markup("<title>{}</title>").format(hint) if hint else "",
        )  # fmt: skip

    def dot(self, x: float, y: float, style: str, radius: float = 4, hint: str = "") -> None:
        """Draw a circle."""
        title = Markup("<title>{}</title>").format(hint) if hint else ""
        self.add('<circle class="{}" cx="{}" cy="{}" r="{}">{}</circle>', style, _n(x), _n(y), _n(radius), title)

    def diamond(self, x: float, y: float, style: str, radius: float = 5, hint: str = "") -> None:
        """Draw a square on its corner."""
        title = Markup("<title>{}</title>").format(hint) if hint else ""
        corners = f"{_n(x)},{_n(y - radius)} {_n(x + radius)},{_n(y)} {_n(x)},{_n(y + radius)} {_n(x - radius)},{_n(y)}"
        self.add('<polygon class="{}" points="{}">{}</polygon>', style, corners, title)

    def x_axis(self, x: Axis, y: float, top: float, labels: Iterable[tuple[float, str]], title: str = "") -> None:
        """Draw tick labels below ``y``, grid lines up to ``top`` and the title under them, at the right."""
        for value in x.minor():
            self.line([(x(value), y), (x(value), top)], "grid minor")
        for value, label in labels:
            self.line([(x(value), y), (x(value), top)], "grid")
            self.text(x(value), y + 17, label)
        self.line([(x.start, y), (x.end, y)], "axis")
        if title:
            self.text(x.end, y + 36, title, "axis-title", "end")

    def y_axis(self, y: Axis, x: float, right: float, labels: Iterable[tuple[float, str]], title: str = "") -> None:
        """Draw tick labels left of ``x``, grid lines up to ``right`` and the title above them, written level."""
        for value in y.minor():
            self.line([(x, y(value)), (right, y(value))], "grid minor")
        for value, label in labels:
            self.line([(x, y(value)), (right, y(value))], "grid")
            self.text(x - 7, y(value) + 4, label, "tick", "end")
        if title:
            self.text(2, y.end - 14, title, "axis-title", "start")

    def svg(self, title: str, description: str) -> Markup:
        """Return the finished chart."""
        return Markup(
            '<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-title {name}-text">'
            '<title id="{name}-title">{title}</title><desc id="{name}-text">{text}</desc>{parts}</svg>'
        ).format(
            width=_n(self.width), height=_n(self.height), name=self.name, title=title, text=description,
            parts=Markup("").join(self.parts),
        )  # fmt: skip

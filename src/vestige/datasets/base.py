"""What a named dataset is: facts, files with their checksums, and a function that reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Parts(NamedTuple):
    """What a dataset's files held: N rows of features, N labels, the class names in index order, and groups if any."""

    x: Any
    y: Any
    classes: tuple[str, ...] | None = None
    groups: Any = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """One published file.

    ``urls``: tried in order; ``archive.zip#file`` takes one file out of an archive; none means that the file is not
    published and only looked for. ``checksums``: contents that are accepted, as ``sha256:…``, ``md5:…`` or ``git:…``
    (the id git gives the file), any one of which will do, since mirrors compress anew.
    """

    name: str
    checksums: tuple[str, ...]
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A named dataset.

    ``shape``: records and features; ``classes``: their number; ``licence``: as its home states it; ``load``: paths by
    file name → parts. ``variants``: complete sets of files of which one is enough, the preferred first; empty when a
    library carries the data.
    """

    name: str
    description: str
    shape: tuple[int, ...]
    classes: int
    licence: str
    home: str
    load: Callable[[Mapping[str, Path]], Parts]
    variants: tuple[tuple[Source, ...], ...] = ()

    @property
    def bundled(self) -> bool:
        """Whether no file is needed."""
        return not self.variants

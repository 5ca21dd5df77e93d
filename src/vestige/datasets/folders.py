"""Where dataset files are looked for: the folders of ``VESTIGE_DATA``, then the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

from vestige.store.folder import user_cache


def data_folders() -> list[Path]:
    """Return the folders that ``VESTIGE_DATA`` lists, separated as in PATH."""
    return [Path(part).expanduser() for part in os.environ.get("VESTIGE_DATA", "").split(os.pathsep) if part.strip()]


def cache_folder() -> Path:
    """Return the folder for downloads: ``datasets`` below ``VESTIGE_CACHE``, or below the user's cache folder."""
    chosen = os.environ.get("VESTIGE_CACHE")
    return (Path(chosen).expanduser() if chosen else user_cache()) / "datasets"

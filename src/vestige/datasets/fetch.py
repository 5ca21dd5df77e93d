"""Find a dataset's files, or download them, and see that they are what was published."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from vestige.datasets.base import Dataset, Source
from vestige.datasets.checksums import matches, verified
from vestige.datasets.folders import cache_folder, data_folders
from vestige.errors import DataError

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes done, and their total, 0 when it is unknown."""

TRIES = 3
PAUSE = 0.5
"""Seconds before the second try of a download; doubled before each further one."""

_BLOCK = 1 << 18
_TIMEOUT = 30.0


def locate(dataset: Dataset, progress: Progress | None = None) -> Mapping[str, Path]:
    """Return a verified path for every file of the first variant that can be found, else downloaded."""
    if dataset.bundled:
        return {}
    for folder in data_folders():
        for variant in dataset.variants:
            paths = {source.name: folder / dataset.name / source.name for source in variant}
            if all(path.is_file() for path in paths.values()):
                for source in variant:
                    _require_verified(paths[source.name], source)
                return paths
    home = cache_folder() / dataset.name
    for variant in dataset.variants:
        paths = {source.name: home / source.name for source in variant}
        if all(path.is_file() and _intact(path, source) for source, path in zip(variant, paths.values(), strict=True)):
            return paths
    published = [variant for variant in dataset.variants if all(source.urls for source in variant)]
    if not published:
        raise DataError(
            f"The files of '{dataset.name}' are not published for download.",
            hint=f"{_where(dataset, dataset.variants[0])} See {dataset.home}.",
        )
    reasons: list[str] = []
    for variant in published:
        missing = [s for s in variant if not ((home / s.name).is_file() and _intact(home / s.name, s))]
        failures = next((found for found in (_download(s, home, progress) for s in missing) if found), [])
        if not failures:
            return {source.name: home / source.name for source in variant}
        reasons += failures
    raise DataError(f"Could not download '{dataset.name}' ({'; '.join(reasons)}).", hint=_where(dataset, published[0]))


def _require_verified(path: Path, source: Source) -> None:
    try:
        good = verified(path, source)
    except OSError as error:
        raise DataError(f"Could not read {path}: {error.strerror or error}.") from error
    if not good:
        raise DataError(
            f"Expected {path} to be the published file, but its checksum differs from {' or '.join(source.checksums)}.",
            hint="Copy it again, or remove it to have it downloaded.",
        )


def _intact(path: Path, source: Source) -> bool:
    if verified(path, source):
        return True
    warnings.warn(f"{path} is damaged and will be downloaded again.", RuntimeWarning, stacklevel=4)
    return False


def _download(source: Source, home: Path, progress: Progress | None) -> list[str]:
    """Download one file; return why that was not possible, or nothing when it was."""
    reasons = []
    for url in source.urls:
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                _fetch_once(url, source, home, progress)
            except _Final as error:
                reasons.append(f"{url}: {error}")
                break
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                if attempt == TRIES - 1:
                    reasons.append(f"{url}: {getattr(error, 'reason', None) or error}")
            except OSError as error:
                raise DataError(
                    f"Could not write {home / source.name}: {error.strerror or error}.",
                    hint="Set VESTIGE_CACHE to a folder with room that can be written to.",
                ) from error
            else:
                return []
    return reasons


def _where(dataset: Dataset, variant: tuple[Source, ...]) -> str:
    """Say where to put the files by hand, and how they are recognised."""
    names = ", ".join(f"{source.name} ({' or '.join(source.checksums)})" for source in variant)
    folders = data_folders()
    place = str(folders[0] / dataset.name) if folders else f"'{dataset.name}' below a folder that VESTIGE_DATA names"
    return f"Put into {place}: {names}."


class _Final(Exception):
    """A failure that trying again would not mend."""


def _fetch_once(url: str, source: Source, home: Path, progress: Progress | None) -> None:
    address, _, inside = url.partition("#")
    home.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{source.name}.", suffix=".part", dir=home)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _copy(address, file.write, progress, source.name)
        if inside:
            _take_out(part, inside)
        if not matches(part, source):
            raise _Final(f"the file is not the published one ({' or '.join(source.checksums)})")
        part.replace(home / source.name)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _copy(address: str, write: Callable[[bytes], object], progress: Progress | None, name: str) -> None:
    request = urllib.request.Request(address, headers={"User-Agent": "vestige"})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code < 500 and error.code not in (408, 429):
            raise _Final(f"HTTP {error.code} {error.reason}") from error
        raise
    with response:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else 0
        done = 0
        while block := response.read(_BLOCK):
            write(block)
            done += len(block)
            if progress is not None:
                progress(name, done, total)
    if done < total:
        raise http.client.IncompleteRead(b"", total - done)


def _take_out(archive: Path, inside: str) -> None:
    """Replace an archive by one of the files in it."""
    taken = archive.with_suffix(".file")
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(inside) as source, taken.open("wb") as file:
            shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, KeyError) as error:
        taken.unlink(missing_ok=True)
        raise _Final(f"there is no '{inside}' in it ({error})") from error
    taken.replace(archive)

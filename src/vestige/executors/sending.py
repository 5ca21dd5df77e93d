"""How a function and its jobs reach worker processes: through a folder, whose arrays they map into memory."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from vestige.errors import StoreError, UsageError

ALIGNMENT = 64


@contextlib.contextmanager
def written(function: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[str]:
    """Write the function and the jobs to a folder, arrays apart and each only once; the folder goes afterwards."""
    import cloudpickle
    from joblib.externals.loky.backend import resource_tracker

    buffers: list[Any] = []
    try:
        head = cloudpickle.dumps((function, list(jobs)), protocol=5, buffer_callback=buffers.append)
    except Exception as error:  # what is to be pickled may refuse in any way
        raise UsageError(
            f"The jobs cannot be sent to worker processes: {type(error).__name__}: {error}.",
            hint="Use executor = 'inline', or keep open files, locks and connections out of the recipe.",
        ) from error
    folder = tempfile.mkdtemp(prefix="vestige-jobs-")
    # Should this process be killed, the tracker removes the folder.
    resource_tracker.register(folder, "folder")
    try:
        try:
            _write(Path(folder), head, [buffer.raw() for buffer in buffers])
        except OSError as error:
            raise StoreError(
                f"Could not write the jobs to '{folder}': {error.strerror}.",
                hint="Free some space, or name another folder in TMPDIR.",
            ) from error
        yield folder
    finally:
        resource_tracker.unregister(folder, "folder")
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, head: bytes, buffers: list[memoryview]) -> None:
    layout = []
    with (folder / "arrays").open("wb") as file:
        for buffer in buffers:
            file.seek(-file.tell() % ALIGNMENT, os.SEEK_CUR)
            layout.append((file.tell(), buffer.nbytes))
            file.write(buffer)
    (folder / "jobs").write_bytes(head)
    (folder / "layout").write_text(json.dumps(layout))


def perform(folder: str, index: int) -> Any:
    """Do one of the jobs that a folder holds."""
    function, jobs = _read(folder)
    return function(jobs[index])


@lru_cache(maxsize=1)
def _read(folder: str) -> tuple[Callable[[Any], Any], list[Any]]:
    import cloudpickle

    path = Path(folder)
    layout = json.loads((path / "layout").read_text())
    view = memoryview(b"")
    if (path / "arrays").stat().st_size:
        with (path / "arrays").open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    buffers = [view[start : start + length] for start, length in layout]
    read: tuple[Callable[[Any], Any], list[Any]] = cloudpickle.loads((path / "jobs").read_bytes(), buffers=buffers)
    return read

"""Compiled templates, kept in the user's cache folder: compiling those of one report takes longer than rendering it."""

from __future__ import annotations

import hashlib
import sys
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

from jinja2.bccache import Bucket, BytecodeCache

from vestige.errors import StoreError
from vestige.store.files import write_atomically
from vestige.store.folder import user_cache


class CompiledTemplates(BytecodeCache):
    """A file per template, its text, and whatever else the compiled form depends on; ``options``: the environment's.

    Where nothing can be read or written, templates are compiled anew, and nothing is said.
    """

    def __init__(self, options: str) -> None:
        self.options = options

    @cached_property
    def _folder(self) -> Path:
        made_by = (sys.version, version("jinja2"), version("vestige"), self.options)
        return user_cache() / "templates" / hashlib.blake2b(repr(made_by).encode(), digest_size=8).hexdigest()

    def _file(self, bucket: Bucket) -> Path:
        return self._folder / f"{bucket.key}-{bucket.checksum}"

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket from its file; a file that is damaged is as good as none."""
        with suppress(OSError):
            bucket.load_bytecode(BytesIO(self._file(bucket).read_bytes()))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write the bucket to its file."""
        with suppress(StoreError):
            write_atomically(self._file(bucket), bucket.bytecode_to_string())

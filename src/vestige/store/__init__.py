"""The store: every dear result, kept under a key made of what it came from. See `Store`."""

from __future__ import annotations

from vestige.canonical import digest
from vestige.store.artifact import Artifact
from vestige.store.claims import claim
from vestige.store.files import write_atomically
from vestige.store.folder import Entry, Store, StoreWarning, Usage

__all__ = ["Artifact", "Entry", "Store", "StoreWarning", "Usage", "claim", "digest", "write_atomically"]

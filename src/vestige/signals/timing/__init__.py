"""How long a target takes to answer, and what that gives away."""

from __future__ import annotations

from vestige.signals.timing.cache import CacheReading, probe_cache
from vestige.signals.timing.channel import Timed, has_channel, latencies
from vestige.signals.timing.groups import recover_exits

__all__ = ["CacheReading", "Timed", "has_channel", "latencies", "probe_cache", "recover_exits"]

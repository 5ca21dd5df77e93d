"""Doubts about a canary audit: that it could have failed at all, and that its scores say anything."""

from __future__ import annotations

from vestige.checks.base import Check, check


def canaries_could_not_fail(claimed: float, ceiling: float | None, coins: int) -> Check | None:
    """Warn when the claimed ε is at or above the bound that a total leak would have shown."""
    if ceiling is not None and ceiling > claimed:
        return None
    shown = "nothing" if not ceiling else f"ε ≥ {ceiling:.2f}"
    return check(
        "canaries-could-not-fail",
        "warning",
        f"This audit could not have failed: a total leak of {coins:,} coins would have shown {shown}, and ε = "
        f"{claimed:g} is claimed.",
    )


def canaries_alike(distinct: int, canaries: int) -> Check | None:
    """Refuse belief when every canary got the same score, so that no coin could be guessed."""
    if distinct > 1 or canaries < 2:
        return None
    return check(
        "canaries-alike", "error", f"All {canaries:,} canaries got the same score, so no leak could have been seen."
    )

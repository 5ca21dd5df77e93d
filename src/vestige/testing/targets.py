"""What every target must do when it is asked."""

from __future__ import annotations

import numpy as np

from vestige.errors import AccessError
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import Access, IntArray, Outputs, Target
from vestige.testing.conformance import hold

KINDS = {
    Access.LABEL: ("labels", "values"),
    Access.SCORE: ("logits", "probabilities", "values"),
    Access.WHITE_BOX: ("logits", "probabilities", "values"),
}


def check_target(target: Target, records: Records, *, most: int = 64, tolerance: float = 1e-5) -> None:
    """Check a target on some of the records it takes; raises ConformanceError with what fails.

    ``most``: how many records to ask about; ``tolerance``: how far two answers to one record may lie apart, for
    arithmetic that depends on the batch's size.
    """
    name = type(target).__name__
    hold(isinstance(target.access, Access), f"{name}: its access is an Access")
    rows = np.arange(min(most, len(records)), dtype=np.int64)
    for want in Access:
        if want > target.access:
            _check_refusal(target, records, rows, want)
            continue
        whole = _ask(target, records, rows, want)
        hold(whole.kind in KINDS[want], f"{name}: asked for {want.label} access it answers {whole.kind}")
        hold(len(whole) == len(rows), f"{name}: {len(rows)} records get {len(rows)} answers, not {len(whole)}")
        hold(np.isfinite(whole.values).all(), f"{name}: its answers are finite")
        order = rng(0, "check_target").permutation(len(rows))
        for what, asked in (("twice", rows), ("in another order", rows[order]), ("by halves", rows[: len(rows) // 2])):
            again = _ask(target, records, asked, want)
            hold(again.kind == whole.kind, f"{name}: asked {what} it answers the same kind")
            far = np.abs(again.values.astype(np.float64) - whole.values[asked]).max(initial=0.0)
            hold(
                far <= tolerance, f"{name}: asked {what} it answers the same, not {far:.2g} away: is it in train mode?"
            )
        one = np.concatenate([_ask(target, records, rows[i : i + 1], want).values for i in rows[:4]])
        far = np.abs(one.astype(np.float64) - whole.values[:4]).max(initial=0.0)
        hold(far <= tolerance, f"{name}: records asked about alone get the same answers, not {far:.2g} away")


def _ask(target: Target, records: Records, rows: IntArray, want: Access) -> Outputs:
    x = records.rows_of(rows)
    kept = x.copy()
    answer = target.query(x, want)
    unchanged = x.equals(kept) if hasattr(x, "equals") else np.array_equal(x, kept, equal_nan=x.dtype.kind == "f")
    hold(unchanged, f"{type(target).__name__}: it leaves the records it is asked about as they are")
    return answer


def _check_refusal(target: Target, records: Records, rows: IntArray, want: Access) -> None:
    try:
        _ask(target, records, rows, want)
    except AccessError:
        return
    hold(False, f"{type(target).__name__}: it refuses {want.label} access, for it shows only {target.access.label}")

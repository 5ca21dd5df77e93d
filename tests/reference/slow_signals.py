"""Every signal of a classifier's answer, one record at a time, in 800-digit decimals straight from its definition."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext

DIGITS = Context(prec=800, Emin=-(10**9), Emax=10**9)


def slow_signals(logits, y: int) -> dict[str, list[float]]:
    with localcontext(DIGITS):
        scores = [Decimal(float(value)) for value in logits]
        e = [s.exp() for s in scores]
        total = sum(e)
        p = [value / total for value in e]
        not_y = sum(value for j, value in enumerate(e) if j != y) / total
        others = [s for j, s in enumerate(scores) if j != y]
        mean = sum(p) / len(p)
        ranked = sorted((value.ln() for value in p), reverse=True)
        rest = sum(p[j] * (1 - p[j]).ln() for j in range(len(p)) if j != y)
        values = {
            "loss": [-p[y].ln()],
            "log_probability": [p[y].ln()],
            "log_odds": [p[y].ln() - not_y.ln()],
            "hinge": [scores[y] - max(others)],
            "entropy": [-sum(value * value.ln() for value in p)],
            "modified_entropy": [-not_y * p[y].ln() - rest],
            "max_log_probability": [max(p).ln()],
            "correct": [Decimal(int(max(range(len(p)), key=lambda j: (scores[j], -j)) == y))],
            "std_probability": [(sum((value - mean) ** 2 for value in p) / len(p)).sqrt()],
            "log_probabilities": [value.ln() for value in p],
            "top_probabilities": ranked[:3],
        }
        return {key: [float(value) for value in row] for key, row in values.items()}

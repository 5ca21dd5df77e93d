"""A trade-off as one HTML page: what to use, the Pareto picture, and every figure with its interval."""

from __future__ import annotations

import json

from vestige.log_parts import Figure
from vestige.report.html import environment, flat
from vestige.report.tradeoff_chart import key, pareto
from vestige.report.tradeoff_words import (
    GUARANTEES,
    beaten_by,
    bound_of,
    claim_of,
    methods,
    name_of,
    numbers,
    points_lost,
    recommendations,
    states,
    times,
)
from vestige.report.wording import count, duration
from vestige.tradeoff.results import TradeoffLog


def render(log: TradeoffLog) -> str:
    """Return the trade-off as an HTML page."""
    number_of, known = numbers(log), methods(log.points)
    return (
        environment()
        .get_template("tradeoff.html")
        .render(
            log=log,
            placed=[point for point in log.points if point.placed],
            absent=[point for point in log.points if not point.placed],
            advice=recommendations(log),
            states=states(log),
            subtitle=_subtitle(log),
            chart=pareto(log) if known else None,
            legend=[(method, key(method, known)) for method in known],
            number_of=number_of,
            name_of=name_of,
            points_lost=points_lost,
            bare=lambda figure: Figure(value=figure.value),
            planted=next((point.planted for point in log.points if point.placed and point.planted), None),
            times=times,
            claim_of=claim_of,
            bound_of=bound_of,
            beaten_by=lambda point: beaten_by(point, number_of),
            guarantees={k: words for k, words in GUARANTEES.items() if k},
            tuned=[point for point in log.points if point.trials],
            duration=duration(log.seconds),
            settings=lambda values: ", ".join(f"{name} = {value}" for name, value in flat(values)),
            provenance=flat(log.provenance) if log.provenance else [],
            config=json.dumps(log.config, indent=2, ensure_ascii=False, default=str),
            version=str(log.provenance.get("vestige", "")),
        )
    )


def _subtitle(log: TradeoffLog) -> str:
    when = log.created.replace("T", " ").removesuffix("+00:00")
    source = log.config.get("data", {}).get("source", "")
    parts = [source, count(len(log.points), "candidate"), count(len({p.method for p in log.points}), "method")]
    return " · ".join([*filter(None, parts), f"{when} UTC"])

"""A miniature of benchmarks/interval_coverage.py: mechanisms are as private as they say, and a bad bound is told."""

import importlib
import json
import math
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    """The benchmark's modules."""
    sys.path.append(str(FOLDER))
    sys.path.append(str(FOLDER / "peer_drivers"))
    names = ("mechanisms", "bounds", "simulation", "coverage_tables", "bound_peers", "bound_audits")
    modules = {name: importlib.import_module(name) for name in names}
    yield SimpleNamespace(**modules)
    sys.path.remove(str(FOLDER))
    sys.path.remove(str(FOLDER / "peer_drivers"))


class Inline:
    """A pool that does the work at once."""

    def submit(self, work, *given):
        done = Future()
        done.set_result(work(*given))
        return done


@pytest.mark.parametrize("name", ["noise", "laplace", "response", "gaussian 1", "revealing"])
def test_mechanisms_are_exactly_as_private_as_they_say(benchmark, name):
    """At each of several ε, the most that any set of scores gives away is δ(ε), on a large sample."""
    mechanism = benchmark.mechanisms.MECHANISMS[name]
    draw = np.random.default_rng(3)
    coins = np.arange(400_000) < 200_000
    scores = mechanism.scores(draw, coins)
    edges = np.unique(scores) if len(np.unique(scores)) < 10 else np.linspace(-6, 7, 400)
    inside, outside = (
        np.histogram(scores[side], np.append(edges, np.inf))[0] / np.sum(side) for side in (coins, ~coins)
    )
    for epsilon in (0.2, 0.5, 0.9):
        given_away = np.sum(np.maximum(inside - np.exp(epsilon) * outside, 0.0))
        assert given_away == pytest.approx(mechanism.delta(epsilon), abs=0.012)


def test_epsilon_and_delta_belong_together(benchmark):
    for mechanism in benchmark.mechanisms.MECHANISMS.values():
        epsilon = mechanism.epsilon(0.04)
        assert epsilon == 0 or mechanism.delta(epsilon) == pytest.approx(0.04, abs=1e-9)
        if mechanism.name != "noise":
            assert mechanism.weaker(epsilon) < max(mechanism.delta(epsilon), 1e-12) or epsilon == 0
    assert benchmark.mechanisms.gaussian(1.0).epsilon(1e-5) == pytest.approx(4.3772, abs=1e-4)
    assert benchmark.mechanisms.gaussian(1.0).epsilon(0.0) == math.inf
    assert benchmark.mechanisms.LAPLACE.epsilon(1e-5) == pytest.approx(1 - 2e-5, abs=1e-8)


def test_every_method_holds_in_a_miniature(benchmark):
    """100 audits a cell; a share that lies 4 standard errors above 5 % is 14 %."""
    simulation = benchmark.simulation
    rows = []
    for name, delta in (("noise", 1e-5), ("response", 0.0), ("gaussian 1", 1e-5), ("revealing all", 0.03)):
        cell = simulation.Cell(name, 100, delta, 100)
        titles = [each for each in simulation.titles(cell, []) if benchmark.bounds.BY_TITLE[each].kind != "estimate"]
        found = simulation.gathered(simulation.submit(Inline(), cell, titles, seed=1))
        rows += [simulation.row(cell, title, tally) for title, tally in found.items()]
    for row in rows:
        assert row["crashes"] == 0, row
        assert (row["refused"] == 100) == (not row["due"]), row
        assert (simulation.share_of(row) or 0) <= 0.14, row
    text = benchmark.coverage_tables.page({"rows": rows, "records": [100]})
    assert "0 crashes" in text
    assert "| **`one_run`** | holds |" in text


def test_a_bound_that_is_none_is_found_out(benchmark, monkeypatch):
    """The largest of all thresholds' bounds, uncorrected, fails on noise; so does one that raises, or never refuses."""

    def greedy(audit):
        at = np.quantile(audit.nonmembers, np.linspace(0.02, 0.98, 60))
        hits, alarms = (np.array([np.sum(side > t) for t in at]) for side in (audit.members, audit.nonmembers))
        low = stats.beta.ppf(0.05, np.maximum(hits, 1), len(audit.members) - hits + 1)
        high = stats.beta.ppf(0.95, alarms + 1, len(audit.nonmembers) - alarms)
        return benchmark.bounds.Found(max(float(np.max(np.log(low / high))), 0.0))

    def broken(_):
        raise ValueError("y must be less than or equal to x")

    simulation, method = benchmark.simulation, benchmark.bounds.Method
    for name, compute in (("greedy", greedy), ("broken", broken)):
        monkeypatch.setitem(benchmark.bounds.BY_TITLE, name, method(name, "", compute))
    monkeypatch.setitem(
        benchmark.bounds.BY_TITLE,
        "careless",
        method("careless", "", lambda _: benchmark.bounds.Found(0.0), gaussian=True),
    )
    cell = simulation.Cell("noise", 400, 0.0, 200)
    found = simulation.gathered(simulation.submit(Inline(), cell, ["greedy", "broken", "careless"], seed=0))
    rows = {title: simulation.row(cell, title, tally) for title, tally in found.items()}
    assert not simulation.holds(rows["greedy"])
    assert rows["broken"]["crashes"] == 200
    assert rows["careless"]["crashes"] == 200
    text = benchmark.coverage_tables.page({"rows": list(rows.values()), "records": [400]})
    assert "Fails: greedy, noise" in text
    assert "Vestige broken crashed in 200 audits: ValueError: y must be less" in text


def test_turns_and_cells_draw_the_same_audits(benchmark):
    simulation, mechanisms = benchmark.simulation, benchmark.mechanisms
    cell = simulation.Cell("laplace", 50, 1e-5, 120)
    seeds = cell.seeds(7)
    assert len(seeds) == 3
    whole = list(mechanisms.audits(mechanisms.LAPLACE, 50, seeds))
    parts = [one for seed in seeds for one in mechanisms.audits(mechanisms.LAPLACE, 50, [seed])]
    assert all(np.array_equal(a, b) for pair in zip(whole, parts, strict=True) for a, b in zip(*pair, strict=True))
    assert seeds == replace(cell, delta=0.0).seeds(7) != cell.seeds(8)
    tally = simulation.gathered(simulation.submit(Inline(), cell, ["one_run"], seed=7))["one_run"]
    assert len(tally.values) == 120


def test_a_driver_counts_as_the_benchmark_does(benchmark, tmp_path, capfd, monkeypatch):
    """A tool's driver gets the same audits, judges against the same truth, and survives what the tool raises."""

    def often(inside, outside, delta):
        if len(inside) > 60:
            raise RuntimeError("too many")
        return float(np.max(inside) > np.max(outside))

    request = {"canaries": 100, "delta": 1e-5, "seconds": 60, "most": 0, "noise": benchmark.bound_peers.noise(0, 1)}
    seeds = benchmark.simulation.Cell("noise", 100, 1e-5, 50).seeds(0)
    request["cells"] = [{"mechanism": "noise", "audits": 50, "seeds": seeds}]
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request))
    monkeypatch.setattr(sys, "argv", ["driver", str(file), str(tmp_path)])
    tool = benchmark.bound_audits.Bounds({"often": often}, noise=lambda *_: (0.5, 0.01))
    benchmark.bound_audits.serve(lambda _: tool)
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    pairs = [(s[k], s[~k]) for s, k in benchmark.mechanisms.audits(benchmark.mechanisms.NOISE, 100, seeds)]
    known = [pair for pair in pairs if len(pair[0]) <= 60]
    assert told[0]["exceeded"] == sum(np.max(a) > np.max(b) for a, b in known)
    assert told[0]["crashes"] == 50 - len(known)
    assert told[1]["noise"] == {"size": 500, "repeats": 50, "auc": 0.5, "auc_error": 0, "tpr": 0.01, "tpr_error": 0}


def test_a_tool_that_is_absent_is_skipped_with_a_sentence(benchmark, tmp_path):
    found, skipped = benchmark.bound_peers.peers([f"opake={tmp_path}", "JAXPrivacy@2.0=/nowhere/at/all"])
    assert [peer.title for peer in found] == ["opake"]
    assert len(skipped) == 2
    assert "there is no '/nowhere/at/all'" in skipped[0]
    cells = [benchmark.simulation.Cell("noise", 20, 1e-5, 20)]
    limits = {"seconds": 1, "most": 0, "seed": 0, "workers": 1, "timeout": 60}
    ((peer, size, answer),) = benchmark.bound_peers.rows([(found[0], 20)], cells, python=sys.executable, **limits)
    assert (peer.tool, size) == ("opake", 20)
    assert answer.startswith("opake: skipped at 20 canaries, its driver ended with 1: ")

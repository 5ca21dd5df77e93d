"""Grids: every cell an ordinary audit, nothing trained twice, nothing lost, and what cannot run says why."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest

pytest.importorskip("sklearn")

import vestige.grid
from vestige.auditing.attempting import attack_all
from vestige.auditing.run import Audit
from vestige.backends.sklearn import SklearnRecipe
from vestige.config.comparisons import GridConfig
from vestige.config_files import load_config
from vestige.errors import ConfigError, DataError, UsageError
from vestige.grid.correlation import STRONGEST, correlations
from vestige.grid.expand import attacks_of, expand
from vestige.grid.results import GridCell, GridLog, GridResult
from vestige.log import AuditLog
from vestige.log_parts import Divergence, Figure

TREE = {"kind": "sklearn", "model": "sklearn.tree:DecisionTreeClassifier", "params": {"max_depth": 8}}
BASE = {
    "name": "toy",
    "data": {"source": "digits", "limit": 500},
    "recipe": TREE,
    "shadow": {"count": 4},
    "audit": {"attacks": ["gap", "loss", "lira", "lira_offline"], "fpr": [0.05]},
}
GRID = {"access": ["label", "score"], "data": ["same", "disjoint"], "labels": ["true", "predicted"]}


def config_of(tmp_path, grid=GRID, **changes):
    return load_config({**BASE, "store": str(tmp_path / "store"), "grid": grid, **changes}, environ={})


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A grid that was run: its log, its folder, its config, and the training sets of every model that was fitted."""
    folder = tmp_path_factory.mktemp("grid")
    fitted = []
    plain = SklearnRecipe.fit

    def counting(self, records, rows, seed):
        fitted.append((self.fingerprint(), records.fingerprint, rows.tobytes(), seed))
        return plain(self, records, rows, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SklearnRecipe, "fit", counting)
        config = config_of(folder)
        return vestige.grid.run(config, out=folder / "out"), folder / "out", config, fitted


def test_every_combination_is_an_audit_in_the_lists_order(tmp_path):
    cells = expand(config_of(tmp_path))
    assert len(cells) == 8
    assert len({cell.id for cell in cells}) == 8
    assert [cell.place["access"] for cell in cells] == ["label"] * 4 + ["score"] * 4
    assert all(cell.config.grid == GridConfig() for cell in cells)
    last = cells[-1].config
    assert (last.audit.access, last.shadow.data, last.audit.labels) == ("score", "disjoint", "predicted")
    assert (last.shadow.count, last.data.limit, last.audit.fpr) == (4, 500, [0.05])


def test_nothing_is_trained_twice_though_trees_cannot_be_kept(ran):
    fitted = ran[3]
    assert len(set(fitted)) == len(fitted)
    # The pool of 1 + 4, and for disjoint data another target, and 1 + 4 models of the other half.
    assert len(fitted) == 5 + 1 + 5


def test_a_cell_is_the_audit_that_its_config_describes(ran, tmp_path):
    log, folder, _, _ = ran
    for cell in log.cells[5::2]:
        kept = AuditLog.load(folder / cell.log)
        told = load_config(kept.config, environ={}).model_copy(update={"store": str(tmp_path)})
        alone = Audit.from_config(told).run()
        assert [(r.title, r.status, r.auc, r.tpr) for r in alone.attacks] == [
            (r.attack, r.status, r.auc, r.tpr) for r in cell.results
        ]


def test_what_cannot_run_says_why(ran):
    log = ran[0]
    assert log.status == "complete"
    assert log.exit_code == 0
    at = {(c.place["access"], c.place["data"], c.place["labels"]): {r.attack: r for r in c.results} for c in log.cells}
    assert "other data" in at["score", "disjoint", "true"]["lira"].reason
    assert at["score", "disjoint", "true"]["lira_offline"].status == "ok"
    assert "needs score access" in at["label", "disjoint", "true"]["lira"].reason
    assert "does not know it" in at["score", "same", "predicted"]["gap"].reason
    assert at["label", "same", "true"]["gap"].auc == at["score", "same", "true"]["gap"].auc


def test_run_again_it_reads_what_it_wrote(ran, monkeypatch):
    log, folder, config, _ = ran
    monkeypatch.setattr(Audit, "run", lambda *_: pytest.fail("nothing is left to run"))
    again = vestige.grid.run(config, out=folder)
    assert all(cell.kept for cell in again.cells)
    assert [cell.results for cell in again.cells] == [cell.results for cell in log.cells]
    assert sum(cell.trained for cell in again.cells) == 0


def test_another_seed_or_attack_is_not_read_from_the_old_run(ran, tmp_path):
    _, folder, config, _ = ran
    small = config.grid.model_copy(update={"access": ["score"], "data": ["same"], "labels": ["true"]})
    for changes in ({"seed": 1}, {"audit": config.audit.model_copy(update={"attacks": ["loss"]})}):
        # The same places as in the first run, so that only what is in the logs can tell them apart.
        changed = config.model_copy(update={**changes, "grid": small, "store": str(tmp_path)})
        cell = expand(changed)[0]
        target = folder.parent / f"copy-{next(iter(changes))}" / "cells" / cell.id
        target.mkdir(parents=True)
        old = next(c for c in ran[0].cells if c.place["access"] == "score")
        (target / "audit.json").write_text((folder / old.log).read_text("utf-8"))
        again = vestige.grid.run(changed, out=target.parents[1])
        assert not again.cells[0].kept


@dataclass
class Interrupting:
    """Progress that interrupts when the third audit has been finished."""

    seen: list = field(default_factory=list)

    def begin(self, stage, total, *, reused=0):
        pass

    def advance(self, stage, done=1, *, note=""):
        if stage == "cells":
            self.seen.append(note)
            if len(self.seen) == 3:
                raise KeyboardInterrupt

    def end(self, stage, *, note=""):
        pass


def test_an_interrupt_keeps_finished_cells_and_the_same_run_goes_on(ran, tmp_path):
    config = config_of(tmp_path, {**GRID, "access": ["score"]})
    log = vestige.grid.run(config, out=tmp_path / "out", progress=Interrupting())
    assert (log.status, log.exit_code) == ("interrupted", 130)
    assert sorted(cell.status for cell in log.cells) == ["complete"] * 3 + ["missing"]
    assert GridLog.load(tmp_path / "out").status == "interrupted"
    whole = vestige.grid.run(config, out=tmp_path / "out")
    assert whole.status == "complete"
    assert sum(cell.kept for cell in whole.cells) == 3
    assert [cell.results for cell in whole.cells] == [cell.results for cell in ran[0].cells[4:]]


def test_an_interrupt_inside_an_audit_does_not_leave_half_a_log(tmp_path, monkeypatch):
    started = []

    def attack(audit, outcome, progress):
        started.append(audit)
        if len(started) == 2:
            raise KeyboardInterrupt
        attack_all(audit, outcome, progress)

    monkeypatch.setattr("vestige.auditing.run.attack_all", attack)
    log = vestige.grid.run(config_of(tmp_path), out=tmp_path / "out")
    assert log.status == "interrupted"
    assert [cell.status for cell in log.cells].count("complete") == 1
    assert len(list((tmp_path / "out" / "cells").glob("*/audit.json"))) == 1


def test_an_audit_that_cannot_be_is_refused_and_the_others_run(tmp_path):
    grid = {"data": ["same", "disjoint"]}
    log = vestige.grid.run(config_of(tmp_path, grid, data={"source": "digits", "limit": 60}, shadow={"count": 2}))
    assert [cell.status for cell in log.cells] == ["complete", "refused"]
    assert "enough records for two disjoint halves" in log.cells[1].reason
    assert log.exit_code == 0


def test_a_failure_is_3_and_says_so(tmp_path):
    broken = {**TREE, "params": {"max_depth": -1}}
    log = vestige.grid.run(config_of(tmp_path, {"architecture": ["same", broken]}))
    assert [cell.status for cell in log.cells] == ["complete", "failed"]
    assert "max_depth" in log.cells[1].reason
    assert log.exit_code == 3


def test_the_gate_is_judged_in_every_cell_that_has_the_attack(tmp_path):
    grid = {"labels": ["true", "predicted"]}
    log = vestige.grid.run(config_of(tmp_path, grid, gate={"loss.auc": 0.53}))
    assert len(log.cells[0].failed_rules) == 1
    assert log.cells[0].results[1].auc.value > 0.53
    assert log.cells[1].failed_rules == []
    assert log.cells[1].results[1].auc.value <= 0.53
    assert log.exit_code == (4 if any(cell.doubts for cell in log.cells) else 1)


def test_families_take_turns_in_the_attacks_that_learn_a_model():
    made = attacks_of(
        ["quick", "shokri", {"name": "ml_leaks_1", "params": {"family": "mlp"}}], ["tree", "knn"], "score"
    )
    assert made == [
        "loss",
        "rmia",
        {"name": "shokri", "params": {"family": "tree"}},
        {"name": "shokri", "params": {"family": "knn"}},
        {"name": "ml_leaks_1", "params": {"family": "tree"}},
        {"name": "ml_leaks_1", "params": {"family": "knn"}},
    ]
    assert attacks_of("full", [], "score") == "full"
    full = attacks_of("full", ["tree"], "label")
    assert {"name": "transfer"} not in full
    assert {"name": "augmentation", "params": {"rule": "learned", "family": "tree"}} in full


def test_without_a_grid_labels_are_compared_with_scores_and_data_with_disjoint_data(tmp_path):
    cells = expand(config_of(tmp_path, {}))
    assert [(c.place["access"], c.place["data"]) for c in cells] == [
        ("label", "same"), ("label", "disjoint"), ("score", "same"), ("score", "disjoint"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("grid", "changes", "error", "match"),
    [
        ({"family": ["svm"]}, {}, UsageError, r"family to be mlp.*got 'svm'"),
        ({"data": ["wien"]}, {}, UsageError, r"no dataset called 'wien'.*Did you mean 'wine'"),
        ({"source": ["digits"], "data": ["same", "digits"]}, {}, ConfigError, "same as 'same'"),
        ({"source": ["wine"]}, {"target": {"model": "m.joblib"}}, ConfigError, "one that is trained already"),
        ({"data": ["disjoint"]}, {"audit": {"targets": 3}}, ConfigError, r"Leave \[audit\] targets at 1"),
        ({"queries": list(range(1, 1002))}, {}, ConfigError, "1,001 audits, and at most 1,000"),
    ],
)  # fmt: skip
def test_a_grid_that_makes_no_sense_is_one_sentence_before_anything_runs(tmp_path, grid, changes, error, match):
    with pytest.raises(error, match=match):
        expand(config_of(tmp_path, grid, **changes))


def test_an_unknown_axis_is_a_config_error():
    with pytest.raises(ConfigError, match=r"grid\.acess.*Did you mean 'access'"):
        load_config({"grid": {"acess": ["label"]}}, environ={})


def test_tables_that_look_alike_are_told_apart(tmp_path):
    deep = {**TREE, "params": {"max_depth": 20}}
    cells = expand(
        config_of(tmp_path, {"recipe": [TREE, deep], "hyperparameters": ["known", {"params": {"max_depth": [3]}}]})
    )
    assert [cell.place["recipe"] for cell in cells[::2]] == [
        "DecisionTreeClassifier params (max_depth 8)", "DecisionTreeClassifier params (max_depth 20)",
    ]  # fmt: skip
    assert cells[1].place["hyperparameters"] == "guessed max_depth"


def test_it_survives_its_file_and_another_file_is_refused(ran, tmp_path):
    log, folder, _, _ = ran
    assert GridLog.load(log.save(tmp_path / "kept.json")) == log
    assert json.loads((folder / "grid.json").read_text("utf-8"))["format"] == "vestige.grid"
    (tmp_path / "grid.json").write_text("{}")
    with pytest.raises(DataError, match=r"to be a vestige.grid log of version 1"):
        GridLog.load(folder / log.cells[0].log)
    with pytest.raises(DataError, match="Could not read a grid"):
        GridLog.load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="grid's format among html"):
        log.render("sarif")


def cell(target, unlike, areas):
    results = [GridResult(attack=name, name=name, auc=Figure(value=value)) for name, value in areas.items()]
    unlikeness = [Divergence(signal="loss", value=Figure(value=unlike), plain=unlike, chance=0.0)]
    return GridCell(id=target, place={}, status="complete", target=target, results=results, divergence=unlikeness)


def test_correlations_have_one_point_per_target():
    cells = [cell(str(k), 0.1 * k, {"loss": 0.5 + 0.05 * k, "lira": 0.9 - 0.02 * k}) for k in range(6)]
    found = {one.attack: one for one in correlations(cells)}
    assert found["loss"].pearson.value == pytest.approx(1)
    assert found["lira"].pearson.value == pytest.approx(-1)
    assert found["loss"].targets == 6
    # More cells of one target do not make more targets, and their AUCs are averaged.
    more = [*cells, *(replace_auc(one, 0.1) for one in cells)]
    assert {one.attack: one.targets for one in correlations(more)} == {STRONGEST: 6, "loss": 6, "lira": 6}
    noisy = [cell(str(k), x, {"loss": y}) for k, (x, y) in enumerate([(0, 0.5), (0.1, 0.7), (0.2, 0.6), (0.3, 0.8)])]
    one = next(c for c in correlations(noisy) if c.attack == "loss")
    assert one.pearson.value == pytest.approx(np.corrcoef([0, 0.1, 0.2, 0.3], [0.5, 0.7, 0.6, 0.8])[0, 1])
    assert one.spearman == pytest.approx(0.8)
    assert one.pearson.low < one.pearson.value < one.pearson.high


def replace_auc(one, step):
    results = [r.model_copy(update={"auc": Figure(value=r.auc.value + step)}) for r in one.results]
    return one.model_copy(update={"results": results})


def test_two_targets_are_too_few_to_correlate():
    found = correlations([cell("a", 0.1, {"loss": 0.6}), cell("b", 0.2, {"loss": 0.7})])
    assert found[0].pearson.value is None
    assert "2 targets, and a correlation needs 3" in found[0].pearson.reason


def test_the_strongest_of_a_cell_is_its_largest_area():
    cells = [cell(str(k), 0.1 * k, {"loss": 0.6, "lira": 0.6 + 0.1 * k}) for k in range(4)]
    best = next(c for c in correlations(cells) if c.attack == STRONGEST)
    assert best.pearson.value == pytest.approx(1)
    flat = next(c for c in correlations(cells) if c.attack == "loss")
    assert flat.pearson.reason == "all targets are alike"

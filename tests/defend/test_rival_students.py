"""Models taught by others, and stacks: who saw what, and who must not have."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from rival_pools import RESERVE, ROWS, defence, pool, recipe
from vestige.backends.torch import TorchRecipe
from vestige.defend.training.dmp import softened, surest
from vestige.defend.training.forests import Forest
from vestige.defend.training.selena import _ask, split_answers
from vestige.defend.training.shares import parts, withheld
from vestige.defend.training.stacks import Meta
from vestige.errors import UsageError
from vestige.records import Records
from vestige.target import Access, Outputs


def seen_by(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note the rows of every model that a torch recipe trains."""
    seen: list[Any] = []
    fit_many = TorchRecipe.fit_many

    def noting(self: TorchRecipe, records: Records, rows: Any, seeds: Any, **options: Any) -> Any:
        seen.extend(rows)
        return fit_many(self, records, rows, seeds, **options)

    monkeypatch.setattr(TorchRecipe, "fit_many", noting)
    return seen


class TestSelena:
    @pytest.mark.parametrize(("models", "without", "rows"), [(25, 10, 200), (4, 3, 50), (7, 1, 33)])
    def test_every_member_is_withheld_from_so_many_models(self, models: int, without: int, rows: int) -> None:
        out = withheld(pool(), np.arange(rows), models, without, 3)
        assert out.shape == (models, rows)
        assert (out.sum(0) == without).all()
        share = without / models
        assert np.abs(out.mean(1) - share).max() < 5 * np.sqrt(share * (1 - share) / rows)
        assert not np.array_equal(out, withheld(pool(), np.arange(rows), models, without, 4))

    def test_records_of_one_person_are_withheld_together(self) -> None:
        records = pool(groups=np.arange(320) // 4)
        out = withheld(records, ROWS[0], 6, 2, 3)
        groups = np.arange(320)[ROWS[0]] // 4
        for group in np.unique(groups):
            assert len(np.unique(out[:, groups == group], axis=1).T) == 1

    def test_what_a_member_is_taught_owes_nothing_to_models_that_saw_it(self) -> None:
        records, rows = pool(), ROWS[0]
        out = withheld(records, rows, 5, 2, 3)
        shards = [rows[~one] for one in out]
        models = recipe().fit_many(records, shards, list(range(5)))
        ask = partial(_ask, records, rows)
        before = split_answers(models, out, ask)
        strangers = recipe().fit_many(pool(), shards, list(range(50, 55)))
        for member in range(0, 130, 13):
            mixed = [m if gone else s for m, s, gone in zip(models, strangers, out[:, member], strict=True)]
            after = split_answers(mixed, out, ask)
            assert np.array_equal(after[member], before[member])
            assert not np.allclose(after, before)
        own = [_ask(records, rows[:1], models[k], np.array([True]))[0] for k in np.flatnonzero(out[:, 0])]
        np.testing.assert_allclose(before[0], np.mean(own, 0), atol=1e-6)
        np.testing.assert_allclose(before.sum(1), 1)

    def test_submodels_train_on_what_is_not_withheld(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = seen_by(monkeypatch)
        defence("selena", models=6, without=2).wrap(recipe(), RESERVE).fit(pool(), ROWS[0], 9)
        assert len(seen) == 6
        times = np.bincount(np.concatenate(seen), minlength=320)
        assert (times[ROWS[0]] == 4).all()
        assert times.sum() == 4 * len(ROWS[0])

    def test_the_student_takes_soft_answers_and_no_label(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from vestige.defend.training import students

        taught: list[Any] = []
        train = students.train_many

        def noting(plan: Any, graph: Any, rows: Any, seeds: Any, **options: Any) -> Any:
            taught.append((plan, rows[0]))
            return train(plan, graph, rows, seeds, **options)

        monkeypatch.setattr(students, "train_many", noting)
        defence("selena").wrap(recipe(mixup=1.0), RESERVE).fit(pool(), ROWS[0], 9)
        (plan, rows), y = taught[0], taught[0][0].y.numpy()
        assert np.array_equal(rows, ROWS[0])
        assert plan.mixup is None
        assert y.shape == (320, 4)
        assert (y[ROWS[0]].max(1) < 1).all()
        assert (np.delete(y, ROWS[0], 0) == 0).all()

    def test_two_members_are_too_few(self) -> None:
        with pytest.raises(UsageError, match="too few"):
            defence("selena", models=25, without=24).wrap(recipe(), RESERVE).fit(pool(), np.arange(3), 1)


class TestDMP:
    def test_the_student_owes_nothing_to_members_but_the_teachers_answers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from vestige.defend.training import students

        records, taught = pool(), []
        train = students.train_many

        def noting(plan: Any, graph: Any, rows: Any, seeds: Any, **options: Any) -> Any:
            taught.append((plan, rows[0]))
            return train(plan, graph, rows, seeds, **options)

        monkeypatch.setattr(students, "train_many", noting)
        seen = seen_by(monkeypatch)
        defence("dmp", kept=0.5, temperature=1.0).wrap(recipe(), RESERVE).fit(records, ROWS[0], 9)
        assert len(seen) == 1
        assert np.array_equal(seen[0], ROWS[0])
        (plan, rows), y = taught[0], taught[0][0].y.numpy()
        assert len(rows) == len(RESERVE) // 2
        assert set(rows) <= set(RESERVE)
        assert (np.delete(y, rows, 0) == 0).all()
        assert y.shape == (320, 4)
        assert ((y[rows] > 0) & (y[rows] < 1)).all()
        np.testing.assert_allclose(y[rows].sum(1), 1, atol=1e-6)
        assert plan.epochs == round(2 * len(ROWS[0]) / len(rows))

    def test_labels_of_the_reserve_are_never_read(self) -> None:
        records = pool()
        y = records.y.copy()
        y[RESERVE] = (y[RESERVE] + 1) % 4
        wrapped = defence("dmp").wrap(recipe(), RESERVE)
        found, other = (wrapped.fit(one, ROWS[0], 9).state() for one in (records, replace(records, y=y)))
        assert all(np.array_equal(found[key], other[key]) for key in found)

    def test_the_surest_are_those_of_least_entropy(self) -> None:
        scores = np.array([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0], [0.7, 0.3]])
        assert surest(scores, 0.5).tolist() == [1, 2]
        assert surest(scores, 0.01).tolist() == [1, 2]
        assert surest(scores, 1.0).tolist() == [0, 1, 2, 3]

    def test_a_temperature_divides_logits(self) -> None:
        logits = np.random.Generator(np.random.PCG64(0)).normal(size=(5, 4))

        def softmax(z: Any) -> Any:
            return np.exp(z) / np.exp(z).sum(1, keepdims=True)

        np.testing.assert_allclose(softened(softmax(logits), 3.0), softmax(logits / 3))
        np.testing.assert_allclose(softened(np.array([[1.0, 0.0]]), 2.0), [[1.0, 0.0]])


class TestStacking:
    @pytest.mark.parametrize("groups", [None, np.arange(320) // 3])
    def test_parts_are_disjoint_and_leave_nobody_out(self, groups: Any) -> None:
        records = pool(groups=groups)
        cut = parts(records, ROWS[0], 3, 5)
        assert np.array_equal(np.sort(np.concatenate(cut)), ROWS[0])
        assert max(map(len, cut)) - min(map(len, cut)) <= 3
        if groups is not None:
            owners = [set(groups[part].tolist()) for part in cut]
            assert not owners[0] & owners[1] | owners[0] & owners[2] | owners[1] & owners[2]

    def test_each_model_owes_nothing_to_the_parts_of_the_others(self) -> None:
        records = pool()
        cut = parts(records, ROWS[0], 3, 5)
        wrapped = defence("stacking").wrap(recipe(), RESERVE)
        before = wrapped.fit(records, ROWS[0], 5).state()
        for place, name in enumerate(("first.", "second.", "meta.")):
            x = records.x.copy()
            x[cut[place]] = x[cut[place]][::-1] * 0.5
            after = wrapped.fit(replace(records, x=x), ROWS[0], 5).state()
            changed = {
                group
                for group in ("first.", "second.", "meta.")
                if any(not np.array_equal(before[k], after[k]) for k in before if k.startswith(group) and k in after)
            }
            # What the two answer to the third part is what the regression learns from.
            assert changed == {name, "meta."}

    @pytest.mark.parametrize("classes", [2, 5])
    def test_a_stored_forest_answers_as_the_one_that_was_grown(self, classes: int) -> None:
        random = np.random.Generator(np.random.PCG64(1))
        x = random.normal(size=(150, 6)).astype(np.float32)
        y = random.integers(0, classes, 150) * 2 % 7
        grown = RandomForestClassifier(n_estimators=12, random_state=0).fit(x, y)
        found = Forest.restored(Forest.of(grown, 8).state()).probabilities(x)
        np.testing.assert_allclose(found[:, grown.classes_], grown.predict_proba(x), atol=1e-6)
        assert (np.delete(found, grown.classes_, 1) == 0).all()

    def test_classes_that_nobody_had_get_nothing(self) -> None:
        answers = np.random.Generator(np.random.PCG64(1)).random((40, 4))
        for y in (np.arange(40) % 2 * 3, np.arange(40) % 3):
            found = Meta.fitted(answers, y, 5, 1.0).probabilities(answers)
            assert (np.delete(found, np.unique(y), 1) == 0).all()
            np.testing.assert_allclose(found.sum(1), 1)

    def test_it_answers_as_scikit_learns_regression_would(self) -> None:
        from sklearn.linear_model import LogisticRegression

        answers = np.random.Generator(np.random.PCG64(2)).random((60, 4))
        for classes in (2, 3):
            y = np.arange(60) % classes
            wanted = LogisticRegression(C=2.0, max_iter=1000).fit(answers, y).predict_proba(answers)
            np.testing.assert_allclose(Meta.fitted(answers, y, classes, 2.0).probabilities(answers), wanted)

    def test_few_members_are_refused(self) -> None:
        with pytest.raises(UsageError, match="too small"):
            defence("stacking").wrap(recipe(), RESERVE).fit(pool(), np.arange(4), 1)

    def test_its_inside_is_not_shown(self) -> None:
        target = defence("stacking").wrap(recipe(), RESERVE).fit(pool(), ROWS[0], 1)
        assert target.access == Access.SCORE
        assert isinstance(target.query(pool().x[:2], Access.LABEL), Outputs)

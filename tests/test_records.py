from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import vestige.duplicates as duplicates
from vestige.duplicates import distinct_rows, drop_duplicates, exact_duplicates
from vestige.errors import DataError, ExitCode, UsageError
from vestige.features import LOSS
from vestige.records import Records

X = np.arange(12, dtype=np.float32).reshape(6, 2)
Y = [0, 1, 0, 1, 0, 1]


def build(x=X, y=Y, **options):
    return Records.build(x, y, **options)


class TestLabels:
    @pytest.mark.parametrize(
        ("y", "indices", "names"),
        [
            ([3, 10, 3, 10, 2, 2], [1, 2, 1, 2, 0, 0], ("2", "3", "10")),
            (["b", "a", "b", "a", "c", "c"], [1, 0, 1, 0, 2, 2], ("a", "b", "c")),
            ([True, False, True, False, True, False], [1, 0, 1, 0, 1, 0], ("False", "True")),
            (np.array([-1.0, 1, -1, 1, -1, 1]), [0, 1, 0, 1, 0, 1], ("-1", "1")),
            (np.array(["b", "a"] * 3, object), [1, 0] * 3, ("a", "b")),
            (np.array([b"b", b"a"] * 3), [1, 0] * 3, ("a", "b")),
            (np.array([[1], [0]] * 3), [1, 0] * 3, ("0", "1")),
            (np.array([2**63 + 1, 5] * 3, np.uint64), [1, 0] * 3, ("5", str(2**63 + 1))),
        ],
    )
    def test_become_indices_into_sorted_names(self, y, indices, names):
        records = build(y=y)
        assert records.y.dtype == np.int64
        assert records.y.tolist() == indices
        assert records.classes == names
        assert records.task == "classification"

    def test_fractions_make_a_regression(self):
        records = build(y=[0.5, 1, 2, 3, 4, 5])
        assert records.task == "regression"
        assert records.y.dtype == np.float64
        assert records.classes == ()

    def test_whole_numbers_make_a_regression_only_when_asked(self):
        assert build(y=[1.0, 2.0] * 3).task == "classification"
        assert build(y=[1, 2] * 3, task="regression").y.tolist() == [1.0, 2.0] * 3

    def test_classes_by_name_or_by_index(self):
        assert build(y=["cat", "dog"] * 3, classes=["dog", "cat"]).y.tolist() == [1, 0] * 3
        assert build(y=[0, 1] * 3, classes=["dog", "cat", "cow"]).y.tolist() == [0, 1] * 3
        assert build(y=[2, 1] * 3, classes=["1", "2"]).y.tolist() == [1, 0] * 3
        assert build(y=[0, 1] * 3, classes=["dog", "cat", "cow"]).classes == ("dog", "cat", "cow")

    @given(st.lists(st.integers(-50, 50), min_size=2, max_size=19).filter(lambda y: len(set(y)) > 1))
    def test_names_give_the_labels_back(self, y):
        records = Records.build(np.zeros((len(y), 1)), y)
        assert [int(records.classes[i]) for i in records.y] == y

    @pytest.mark.parametrize(
        ("y", "options", "match"),
        [
            ([1] * 6, {}, "at least two classes, got one: every label is 1"),
            ([1.5] * 6, {}, "targets that differ"),
            ([0, 1, 2, 3, 0, 7], {"classes": ["a", "b", "c", "d"]}, "indices 0 to 3, got 7"),
            (["a", "b", "a", "b", "a", "z"], {"classes": ["a", "b"]}, r"\(a, b\).* got z"),
            ([0, 1] * 3, {"classes": ["a", "a"]}, "distinct class names"),
            ([0.5, 1.5] * 3, {"task": "classification"}, "fractions such as 0.5"),
            (["a", "b"] * 3, {"task": "regression"}, "numbers as regression targets, got labels such as 'a'"),
            ([0, np.nan] * 3, {}, "3 missing or infinite; the first in row 1"),
            (np.array([0, None] * 3, object), {}, "the first in row 1"),
            (np.array([0, "a"] * 3, object), {}, "mixture of int and str"),
            (np.eye(6), {}, "argmax"),
            (np.array([1j, 2] * 3), {}, "complex"),
            ([0, [1, 2]] * 3, {}, "different lengths"),
        ],
    )
    def test_that_cannot_be_audited_are_refused(self, y, options, match):
        with pytest.raises(DataError, match=match) as caught:
            build(y=y, **options)
        assert caught.value.exit_code == ExitCode.USAGE

    def test_an_identifier_taken_for_the_label_is_refused(self):
        with pytest.raises(DataError, match="30 different labels"):
            Records.build(np.zeros((30, 1)), np.arange(30))

    def test_options_that_contradict(self):
        with pytest.raises(UsageError, match="no classes"):
            build(y=[0.5, 1.5] * 3, task="regression", classes=["a"])
        with pytest.raises(UsageError, match="'clustering'"):
            build(task="clustering")


class TestFeatures:
    @pytest.mark.parametrize(
        ("given_dtype", "kept"),
        [("uint8", "uint8"), ("int16", "int16"), ("int64", "int32"), ("bool", "uint8"), ("float16", "float32"),
         ("float32", "float32"), ("float64", "float32"), (">f8", "float32"), (">i4", "int32")],
    )  # fmt: skip
    def test_are_stored_compactly(self, given_dtype, kept):
        records = build(x=(X % 2).astype(given_dtype))
        assert records.x.dtype == kept
        assert np.array_equal(records.x, X % 2)

    def test_big_integers_stay(self):
        assert build(x=(X + 2**40).astype(np.int64)).x.dtype == np.int64

    def test_floats_stay_64_bit_when_32_would_move_them(self):
        stamps = 1.7e9 + np.arange(6.0)[:, None]
        assert build(x=stamps).x.dtype == np.float64
        assert np.array_equal(build(x=stamps).x, stamps)
        assert build(x=np.full((6, 1), 0.1)).x.dtype == np.float32
        assert build(x=np.arange(6.0)[:, None] * 1e300).x.dtype == np.float64
        assert build(x=np.arange(6.0)[:, None] * 1e-300).x.dtype == np.float64

    @given(hnp.arrays(np.float64, (5, 2), elements=st.floats(-1e6, 1e6)))
    def test_rounding_is_bounded(self, x):
        stored = Records.build(x, [0, 1, 0, 1, 0]).x
        assert np.all(
            np.abs(stored.astype(np.float64) - x) <= LOSS * np.ptp(x, axis=0) + (np.ptp(x, axis=0) == 0) * 0.1
        )

    def test_objects_that_are_numbers_are_read(self):
        assert build(x=X.astype(object)).x.dtype == np.float32

    @pytest.mark.parametrize(
        ("x", "match"),
        [
            (np.where(X == 7, np.nan, X), "1 NaN or infinite value.*row 3, column 1 is nan"),
            (np.where(X > 8, np.inf, X), "3 NaN or infinite value.*row 4, column 1 is inf"),
            (X.astype(complex), "complex"),
            (X.astype(str), "dtype <U"),
            (X.astype(str).astype(object)[:, :1] + "a", "holds str"),
            (np.array([[1], [1, 2], [1], [1], [1], [1]], object), "holds rows of different lengths"),
            ([[1], [1, 2], [1], [1], [1], [1]], "different lengths"),
            (X[:, :0], "at least one feature"),
            (X[:, 0], r"reshape\(-1, 1\)"),
            (np.array(["2020-01-01"] * 6, "M8[D]")[:, None], "datetime64"),
            (5, "without a length"),
            (np.float64(5), "without a length"),
        ],
    )
    def test_that_cannot_be_audited_are_refused(self, x, match):
        with pytest.raises(DataError, match=match):
            build(x=x)

    def test_sparse_matrices_are_refused_with_the_cure(self):
        sparse = pytest.importorskip("scipy.sparse")
        with pytest.raises(DataError, match="toarray"):
            build(x=sparse.csr_matrix(X))


def test_matrix_flattens_arrays():
    images = np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1)
    assert np.array_equal(build(x=images).matrix(), images.reshape(6, 4))
    assert build(x=images).matrix().dtype == np.float32


class TestFrames:
    def test_are_kept(self):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame({"age": [1.0, 2, 3, 4, 5, 6], "town": list("aabbcc")})
        records = build(x=frame)
        assert records.x is frame
        assert records.take(np.array([4, 0])).x["town"].tolist() == ["c", "a"]

    def test_matrix_and_fingerprint(self):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame({"age": [1.0, 2, 3, 4, 5, 6], "town": pd.Categorical(list("aabbcc"))})
        records = build(x=frame)
        assert records.matrix().dtype == np.float32
        assert records.matrix()[2].tolist() == [3, 0, 1, 0]
        assert records.fingerprint == build(x=frame.copy()).fingerprint
        assert records.fingerprint != build(x=frame.rename(columns={"age": "years"})).fingerprint
        assert records.fingerprint != build(x=frame.assign(age=frame.age + 1)).fingerprint

    @pytest.mark.parametrize(
        ("columns", "match"),
        [
            ({"a": [1, 2, np.nan, 4, np.inf, 6]}, "2 missing or infinite value.*column 'a'; the first in row 2"),
            ({"a": [*list("abcde"), None]}, "column 'a'; the first in row 5"),
            ({"a": [1j] * 6}, "complex numbers in column 'a'"),
        ],
    )
    def test_with_holes_are_refused(self, columns, match):
        pd = pytest.importorskip("pandas")
        with pytest.raises(DataError, match=match):
            build(x=pd.DataFrame(columns))

    def test_without_columns_or_with_the_same_twice(self):
        pd = pytest.importorskip("pandas")
        with pytest.raises(DataError, match="without columns"):
            build(x=pd.DataFrame(index=range(6)))
        with pytest.raises(DataError, match="'a' twice"):
            build(x=pd.DataFrame(X, columns=["a", "a"]))


class TestIds:
    def test_by_default_count_the_rows(self):
        assert build().ids.tolist() == [0, 1, 2, 3, 4, 5]

    def test_may_be_bytes_whole_floats_or_a_mixture(self):
        assert build(ids=np.array(list("abcdef"), "S")).ids.tolist() == list("abcdef")
        assert build(ids=np.arange(6.0)).ids.dtype == np.int64
        assert build(ids=np.array([1, "a", 2, "b", 3, "c"], object)).ids.tolist() == ["1", "a", "2", "b", "3", "c"]
        assert build(ids=np.array([1, 2, 3, 4, 5, 6], object)).ids.dtype == np.int64

    @pytest.mark.parametrize("ids", [list("abcdef"), [5, 4, 3, 2, 1, 0], np.array(list("abcdef"), object)])
    def test_follow_their_records(self, ids):
        rows = np.array([4, 1])
        assert build(ids=ids).take(rows).ids.tolist() == [ids[4], ids[1]]

    @pytest.mark.parametrize(
        ("ids", "match"),
        [
            ([1, 2, 3, 4, 5, 2], "1 repeated; for example '2'"),
            (["a", "a", "b", "b", "c", "d"], "2 repeated; for example 'a'"),
            ([1, 2], "6 records and ids of shape"),
            ([1, 2, 3, None, 4, 5], "none in row 3"),
            ([1.5, 2, 3, 4, 5, 6], "dtype float64"),
        ],
    )
    def test_must_tell_records_apart(self, ids, match):
        with pytest.raises(DataError, match=match):
            build(ids=ids)


class TestGroups:
    @given(st.lists(st.sampled_from(["ann", ("b", 1), 7, frozenset({2})]), min_size=6, max_size=6))
    def test_are_equal_where_the_values_are(self, groups):
        if len(set(groups)) < 2:
            return
        codes = build(groups=groups).groups
        assert codes.dtype == np.int64
        for i, j in itertools.combinations(range(6), 2):
            assert (codes[i] == codes[j]) == (groups[i] == groups[j])

    @pytest.mark.parametrize(
        ("groups", "match"),
        [
            ([1, 2], "6 records and 2 groups"),
            ([1] * 6, "at least two groups"),
            ([1, 2, None, 3, 3, 3], "none in row 2"),
            ([[1], [2], [3], [4], [5], [6]], "unhashable"),
        ],
    )
    def test_that_say_nothing_are_refused(self, groups, match):
        with pytest.raises(DataError, match=match):
            build(groups=groups)


@pytest.mark.parametrize(
    ("x", "y", "match"), [(X, Y[:5], "6 records and 5 labels"), (X[:1], Y[:1], "at least 2 records, got 1")]
)
def test_counts_must_agree(x, y, match):
    with pytest.raises(DataError, match=match):
        Records.build(x, y)


def test_fingerprint_depends_on_every_part():
    base = {"ids": list("abcdef"), "groups": [1, 1, 2, 2, 3, 3]}
    changed = [
        build(**base),
        build(x=X[::-1], **base),
        build(y=Y[::-1], **base),
        build(**{**base, "ids": list("abcdeg")}),
        build(**{**base, "groups": [1, 2, 2, 2, 3, 3]}),
        build(**base, classes=["a", "b"]),
        build(x=X.astype(np.uint8), **base),
    ]
    assert len({records.fingerprint for records in changed}) == len(changed)
    assert build(**base).fingerprint == changed[0].fingerprint


class TestDuplicates:
    @staticmethod
    def slow(x):
        """The first row that equals each row, by comparing all pairs."""
        return [next(j for j in range(i + 1) if np.array_equal(x[i], x[j])) for i in range(len(x))]

    @given(
        st.sampled_from(["u1", "i4", "f4", "f8"]).flatmap(
            lambda dtype: hnp.arrays(
                dtype, st.tuples(st.integers(2, 12), st.integers(1, 3)), elements=st.integers(0, 1)
            )
        )
    )
    def test_against_all_pairs(self, x):
        y = np.arange(len(x)) % 2
        assert exact_duplicates(Records.build(x, y)).tolist() == self.slow(x)

    def test_images_and_signed_zeros(self):
        x = np.zeros((4, 3, 5, 1), np.float32)
        x[1] = -0.0
        x[2, 1, 1] = 1
        records = Records.build(x, [0, 1, 0, 1])
        assert exact_duplicates(records).tolist() == [0, 0, 2, 0]
        assert distinct_rows(records).tolist() == [0, 2]
        assert drop_duplicates(records).ids.tolist() == [0, 2]

    def test_colliding_hashes_are_never_called_duplicates(self, monkeypatch):
        monkeypatch.setattr(duplicates, "_hashes", lambda matrix: np.zeros(len(matrix), np.uint64))
        x = np.array([[1], [2], [2], [1], [3], [2], [3]], np.float32)
        assert exact_duplicates(Records.build(x, [0, 1] * 3 + [0])).tolist() == self.slow(x)

    def test_frames(self):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame({"a": [1, 1, 2, 1], "b": pd.Categorical(["x", "y", "x", "x"])})
        assert exact_duplicates(Records.build(frame, [0, 1, 0, 1])).tolist() == [0, 1, 2, 0]

    def test_nothing_to_drop_returns_the_same_records(self):
        records = build()
        assert drop_duplicates(records) is records

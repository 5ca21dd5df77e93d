from __future__ import annotations

import json

import numpy as np
import pytest

from vestige.errors import DataError, ExitCode, MissingDependency, UsageError
from vestige.loading import from_torch, load_file, read_members
from vestige.records import Records

X = np.arange(12, dtype=np.float32).reshape(6, 2)
Y = np.array([0, 1] * 3)
CSV = """id,age,town,group,member,label
a,31,Ulm,1,1,yes
b,22,Bonn,1,0,no
c,45,Ulm,2,1,no
d,19,Kiel,3,0,yes
"""


@pytest.fixture
def csv(tmp_path):
    def write(text=CSV, name="people.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_text(text, encoding=encoding)
        return path

    return write


def refused(match, path, **options):
    with pytest.raises(DataError, match=match) as caught:
        load_file(path, **options)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)


class TestCsv:
    def test_roles_features_and_members(self, csv):
        loaded = load_file(csv())
        records = loaded.records
        assert records.ids.tolist() == ["a", "b", "c", "d"]
        assert records.groups.tolist() == [0, 0, 1, 2]
        assert records.classes == ("no", "yes")
        assert records.y.tolist() == [1, 0, 0, 1]
        assert records.name == "people"
        assert loaded.members.tolist() == [True, False, True, False]
        # age, then Bonn, Kiel, Ulm
        assert records.x.tolist() == [[31, 0, 0, 1], [22, 1, 0, 0], [45, 0, 0, 1], [19, 0, 1, 0]]
        assert records.x.dtype == np.float32

    def test_ordinal_and_frame(self, csv):
        pd = pytest.importorskip("pandas")
        assert load_file(csv(), categorical="ordinal").records.x[:, 1].tolist() == [2, 0, 2, 1]
        frame = load_file(csv(), categorical="frame").records.x
        assert isinstance(frame, pd.DataFrame)
        assert frame["town"].tolist() == ["Ulm", "Bonn", "Ulm", "Kiel"]
        assert frame["town"].dtype == "category"

    def test_columns_and_other_names_for_the_roles(self, csv):
        text = CSV.replace("id,", "key,").replace("label", "risk").replace("member", "used").replace("group", "person")
        loaded = load_file(csv(text), label="risk", id="key", group="person", member="used", columns=["age"])
        assert loaded.records.x.tolist() == [[31], [22], [45], [19]]
        assert loaded.records.ids.tolist() == ["a", "b", "c", "d"]
        assert loaded.members.sum() == 2

    def test_without_roles(self, csv):
        loaded = load_file(csv("a,label\n1,x\n2,y\n"))
        assert loaded.members is None
        assert loaded.records.groups is None
        assert loaded.records.ids.tolist() == [0, 1]

    def test_standardise(self, csv):
        x = load_file(csv(), standardise=True).records.x
        assert np.allclose([x[:, 0].mean(), x[:, 0].std()], [0, 1], atol=1e-6)
        assert set(x[:, 1:].ravel().tolist()) == {0, 1}

    @pytest.mark.parametrize("delimiter", [";", "\t"])
    def test_other_delimiters_marks_quotes_and_blank_lines(self, csv, delimiter):
        text = 'a,b,label\n1,"u, v",x\n\n2,"w",y\n'.replace(",", delimiter).replace(f"u{delimiter}", "u,")
        loaded = load_file(csv(text, encoding="utf-8-sig"), categorical="frame")
        assert loaded.records.x["b"].tolist() == ["u, v", "w"]

    def test_numbers_written_as_texts_stay_apart(self, csv):
        records = load_file(csv("id,a,label\n007,1,01\n7,2,02\n")).records
        assert records.ids.tolist() == ["007", "7"]
        assert records.classes == ("01", "02")

    def test_regression(self, csv):
        records = load_file(csv("a,label\n1,0.5\n2,1.5\n3,2\n")).records
        assert records.task == "regression"
        assert load_file(csv("a,label\n1,1\n2,2\n3,5\n"), task="regression").records.y.tolist() == [1, 2, 5]
        assert load_file(csv("a,label\n1,1.0\n2,2.0\n3,1.0\n")).records.classes == ("1", "2")

    @pytest.mark.parametrize(
        ("text", "options", "match"),
        [
            ("", {}, "empty file"),
            ("\n", {}, "empty line"),
            ("a,label\n", {}, "a header and nothing below"),
            ("1,2\n3,4\n", {}, "name the columns, got numbers"),
            ("a,a,label\n1,2,x\n", {}, "'a' twice"),
            (",a,label\n0,1,x\n1,2,y\n", {}, "none for column 1.*saved row number"),
            ("a,b,label\n1,2,x\n1,x\n", {}, "Expected 3 cells.*got 2 in line 3"),
            ("a,b,label\n1,2,x\n\n1,2,3,x\n", {}, "got 4 in line 4"),
            (CSV, {"label": "lable"}, "no label column 'lable'.*Did you mean 'label'"),
            (CSV, {"id": "ids"}, "no id column 'ids'"),
            (CSV, {"columns": ["age", "twon"]}, "no feature column 'twon'.*'town'"),
            (CSV, {"columns": ["age", "label"]}, "got 'label' among the columns"),
            (CSV.replace("22", ""), {}, "1 missing in column 'age'.*line 3"),
            (CSV.replace("22", "nan"), {}, "1 missing in column 'age'.*line 3"),
            (CSV.replace("22", "inf"), {}, "row 1, column 'age' is inf"),
            (CSV.replace("Kiel", ""), {}, "column 'town'.*line 5"),
            (CSV.replace(",yes", ","), {}, "2 missing in column 'label'.*line 2"),
            (CSV.replace("b,22", "a,22"), {}, "1 repeated; for example 'a'"),
            (CSV.replace(",no", ",yes"), {}, "every label is yes"),
            (CSV.replace("2,1,no", "2,2,no"), {}, "member to be 0 or 1.*'2' in row 2"),
            (CSV.replace(",0,", ",1,"), {}, "every record is a member"),
            (CSV.replace("1,1,yes", "1,0,yes").replace("2,1,no", "2,0,no"), {}, "no record is a member"),
            ("label\nx\ny\n", {}, "at least one feature"),
        ],
    )
    def test_malformed_files_end_in_one_sentence(self, csv, text, options, match):
        refused(match, csv(text), **options)

    def test_free_text_is_not_a_category(self, csv):
        rows = "".join(f"word{i},{i % 2}\n" for i in range(1001))
        refused("1,001 in column 'a'", csv("a,label\n" + rows))

    def test_not_text(self, csv, tmp_path):
        refused("UTF-8.*at byte 8", csv("a,label\nä,1\n", encoding="latin-1"))
        path = tmp_path / "zeros.csv"
        path.write_bytes(b"a,label\n\0\0\0,1\n2,0\n")
        refused("a file with zero bytes in it", path)

    def test_impossible_encoding(self, csv):
        with pytest.raises(UsageError, match="'onehot', 'ordinal' or 'frame', got 'binary'"):
            load_file(csv(), categorical="binary")


class TestNpz:
    def test_arrays(self, tmp_path):
        path = tmp_path / "data.npz"
        np.savez(path, x=X.astype(np.uint8), y=Y, ids=np.arange(10, 16), groups=[1, 1, 2, 2, 3, 3], member=[1, 0] * 3)
        loaded = load_file(str(path))
        assert loaded.records.x.dtype == np.uint8
        assert loaded.records.ids.tolist() == [10, 11, 12, 13, 14, 15]
        assert loaded.records.groups.tolist() == [0, 0, 1, 1, 2, 2]
        assert loaded.members.tolist() == [True, False] * 3

    def test_other_names(self, tmp_path):
        path = tmp_path / "data.npz"
        np.savez(path, features=X, target=Y, used=np.array([True, False] * 3))
        loaded = load_file(path, label="target", member="used")
        assert loaded.members.sum() == 3
        refused("no array 'y'.*it has features, target, used", path)
        refused("no array 'use'.*'used'", path, label="target", member="use")

    def test_broken(self, tmp_path):
        whole = tmp_path / "whole.npz"
        np.savez_compressed(whole, x=np.random.default_rng(0).random((50, 20)), y=np.arange(50) % 2)
        raw = whole.read_bytes()
        cut, flipped, text = tmp_path / "cut.npz", tmp_path / "flipped.npz", tmp_path / "text.npz"
        cut.write_bytes(raw[: len(raw) // 2])
        flipped.write_bytes(raw[:300] + bytes(200) + raw[500:])
        text.write_bytes(b"hello, this is no archive")
        for path in (cut, flipped, text):
            refused("whole .npz file, but it is damaged", path)

    def test_objects_are_not_read(self, tmp_path):
        path = tmp_path / "data.npz"
        np.savez(path, x=np.array([[1], ["a"]] * 3, object), y=Y)
        refused("'x' holds Python objects.*can run code", path)

    @pytest.mark.parametrize(
        ("arrays", "match"),
        [
            ({"x": X}, "no array 'y'"),
            ({"x": X, "y": Y[:4]}, "6 records and 4 labels"),
            ({"x": X + 1j, "y": Y}, "complex"),
            ({"x": X, "y": Y, "member": [1, 0]}, r"6 records and shape \(2,\)"),
            ({"x": X, "y": Y, "ids": [1] * 6}, "repeated"),
        ],
    )
    def test_arrays_that_do_not_fit(self, tmp_path, arrays, match):
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        refused(match, path)

    def test_columns_are_for_tables(self, tmp_path):
        path = tmp_path / "data.npz"
        np.savez(path, x=X, y=Y)
        with pytest.raises(UsageError, match="tables only"):
            load_file(path, columns=["a"])

    def test_a_single_array(self, tmp_path):
        path = tmp_path / "one.npz"
        np.save(tmp_path / "one.npy", X)
        (tmp_path / "one.npy").rename(path)
        refused("got a single one", path)


class TestSafetensors:
    def test_arrays(self, tmp_path):
        from safetensors.numpy import save_file

        path = tmp_path / "data.safetensors"
        save_file({"x": X, "y": Y, "member": np.array([True, False] * 3)}, path)
        loaded = load_file(path)
        assert np.array_equal(loaded.records.x, X)
        assert loaded.members.sum() == 3

    def test_broken(self, tmp_path):
        path = tmp_path / "data.safetensors"
        path.write_bytes(b"\x08\0\0\0\0\0\0\0{}")
        refused("whole .safetensors file", path)


class TestParquet:
    def table(self, tmp_path, **columns):
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        path = tmp_path / "data.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    def test_columns_of_every_kind(self, tmp_path):
        pa = pytest.importorskip("pyarrow")
        path = self.table(
            tmp_path,
            age=pa.array([31, 22, 45, 19], pa.int8()),
            rich=[True, False, True, False],
            town=pa.array(["Ulm", "Bonn", "Ulm", "Kiel"]).dictionary_encode(),
            label=["x", "y", "x", "y"],
            member=[True, False, False, True],
            id=[4, 3, 2, 1],
        )
        loaded = load_file(path)
        assert loaded.records.x.tolist() == [[31, 1, 0, 0, 1], [22, 0, 1, 0, 0], [45, 1, 0, 0, 1], [19, 0, 0, 1, 0]]
        assert loaded.records.ids.tolist() == [4, 3, 2, 1]
        assert loaded.members.tolist() == [True, False, False, True]

    def test_holes_and_other_kinds(self, tmp_path):
        pa = pytest.importorskip("pyarrow")
        path = self.table(
            tmp_path,
            a=[1, None, 3],
            b=[[1], [2], [3]],
            c=pa.array([1, 2, 3], pa.timestamp("s")),
            label=[0, 1, 0],
            d=[1.5, 2, 3],
        )
        refused("1 missing in column 'a'.*row 1", path)
        refused("column 'b'.*got list", path, columns=["b"])
        refused("column 'c'.*got timestamp", path, columns=["c"])
        assert load_file(path, columns=["d"]).records.x.tolist() == [[1.5], [2], [3]]

    def test_broken(self, tmp_path):
        pytest.importorskip("pyarrow")
        path = tmp_path / "data.parquet"
        path.write_bytes(b"PAR1 and then nothing")
        refused("whole parquet file", path)

    def test_without_pyarrow(self, tmp_path, monkeypatch):
        path = tmp_path / "data.parquet"
        path.write_bytes(b"PAR1")
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(MissingDependency, match=r"vestige\[tables\]"):
            load_file(path)


class TestPaths:
    def test_that_cannot_be_read(self, tmp_path):
        (tmp_path / "people.csv").write_text(CSV)
        refused("the folder", tmp_path)
        refused("no file.*Did you mean 'people.csv'", tmp_path / "poeple.csv")
        refused("The folder .* is missing too", tmp_path / "nowhere" / "a.csv")
        (tmp_path / "a.xlsx").write_bytes(b"x")
        refused("ends in .npz, .safetensors, .csv, .tsv, .parquet", tmp_path / "a.xlsx")


class TestMemberLists:
    @pytest.fixture
    def people(self):
        return Records.build(X, Y, ids=list("abcdef"))

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("m.txt", "a\n c \n\na\n"),
            ("m.csv", "a\nc\n"),
            ("m.csv", "id\na\nc\n"),
            ("m.csv", "why,id\nx,a\ny,c\n"),
            ("m.json", '["a", "c"]'),
        ],
    )
    def test_every_format(self, tmp_path, people, name, content):
        (tmp_path / name).write_text(content)
        assert read_members(tmp_path / name, people).tolist() == [True, False, True, False, False, False]

    def test_arrays_and_numbers(self, tmp_path, people):
        np.save(tmp_path / "ids.npy", np.array(["a", "c"]))
        np.save(tmp_path / "mask.npy", np.array([1, 0, 1, 0, 0, 0], bool))
        for name in ("ids.npy", "mask.npy"):
            assert read_members(tmp_path / name, people).tolist() == [True, False, True, False, False, False]
        numbered = Records.build(X, Y)
        (tmp_path / "n.txt").write_text("5\n1\n")
        (tmp_path / "n.json").write_text(json.dumps([1, 5]))
        np.save(tmp_path / "n.npy", np.array([1, 5], np.uint8))
        for name in ("n.txt", "n.json", "n.npy"):
            assert np.flatnonzero(read_members(tmp_path / name, numbered)).tolist() == [1, 5]

    @pytest.mark.parametrize(
        ("name", "content", "match"),
        [
            ("m.txt", "x\ny\n", "None of the 2 ids.* such as 'x', the records 'a'"),
            ("m.txt", "a\nb\nx\n", "1 of 3 that belong to none; for example 'x'"),
            ("m.txt", "a\nb\nc\nd\ne\nf\n", "every record is a member"),
            ("m.txt", "\n\n", "empty list"),
            ("m.csv", "", "empty list"),
            ("m.csv", "a,b\n1,2\n", "a column 'id'"),
            ("m.json", '{"a": 1}', "a list of ids"),
            ("m.json", '["a", ', "Could not read the member list"),
            ("m.npy", "what", "damaged, cut short or pickled"),
            ("m.xml", "<a/>", "ends in .txt, .csv, .json, .npy"),
        ],
    )
    def test_that_cannot_be_used(self, tmp_path, people, name, content, match):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=match):
            read_members(tmp_path / name, people)

    def test_more_that_cannot_be_used(self, tmp_path, people):
        with pytest.raises(DataError, match="no member list"):
            read_members(tmp_path / "m.txt", people)
        with pytest.raises(DataError, match="the folder"):
            read_members(tmp_path, people)
        np.save(tmp_path / "m.npy", np.zeros(3, bool))
        with pytest.raises(DataError, match=r"6 entries.*\(3,\)"):
            read_members(tmp_path / "m.npy", people)
        np.save(tmp_path / "m.npy", np.zeros(6, bool))
        with pytest.raises(DataError, match="no record is a member"):
            read_members(tmp_path / "m.npy", people)
        np.save(tmp_path / "m.npy", np.zeros(3))
        with pytest.raises(DataError, match="dtype float64"):
            read_members(tmp_path / "m.npy", people)
        (tmp_path / "m.txt").write_text("1\ntwo\n")
        with pytest.raises(DataError, match=r"whole numbers.* got 'two'"):
            read_members(tmp_path / "m.txt", Records.build(X, Y))
        (tmp_path / "m.txt").write_bytes(b"\xff\xfe\xfa")
        with pytest.raises(DataError, match="UTF-8"):
            read_members(tmp_path / "m.txt", people)


class Pairs:
    """What a map-style torch dataset looks like from outside."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        item = self.items[row]
        return item() if callable(item) else item


class TestTorch:
    def test_pairs_are_stacked(self):
        records = from_torch(Pairs(*zip(X.reshape(6, 1, 2, 1), Y, strict=True)), name="mine")
        assert records.x.shape == (6, 1, 2, 1)
        assert records.y.tolist() == Y.tolist()
        assert records.name == "mine"

    def test_a_real_one(self):
        torch = pytest.importorskip("torch")
        dataset = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
        records = from_torch(dataset)
        assert np.array_equal(records.x, X)
        assert records.classes == ("0", "1")

    def test_regression(self):
        assert from_torch(Pairs(([1.0], 0.5), ([2.0], 1.5))).task == "regression"

    @pytest.mark.parametrize(
        ("dataset", "match"),
        [
            (iter([]), "map-style"),
            (Pairs((X[0], 0)), "at least 2 records"),
            (Pairs(*X), "got ndarray for sample 0"),
            (Pairs((X[0], 0), (X[:1, :1], 1)), r"\(2,\) for sample 0 and \(1, 1\) for sample 1"),
            (Pairs((X[0], [0, 1]), (X[0], [0, 1])), r"one label per sample, got shape \(2,\)"),
            (Pairs((X[0], 0), (X[1], 0)), "every label is 0"),
        ],
    )
    def test_that_cannot_be_audited(self, dataset, match):
        with pytest.raises(DataError, match=match):
            from_torch(dataset)

    def test_random_augmentation_is_noticed(self):
        random = np.random.default_rng(0)
        with pytest.raises(DataError, match=r"changed between two readings.*augmentation"):
            from_torch(Pairs(lambda: (random.random(3), 0), lambda: (random.random(3), 1)))

from __future__ import annotations

import gzip
import io
import tarfile

import numpy as np
import pytest

from vestige.datasets import DATASETS
from vestige.datasets.formats import read_binary_table, read_idx, read_small, tar_bytes
from vestige.errors import DataError


def tar(path, **files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            facts = tarfile.TarInfo(name)
            facts.size = len(content)
            archive.addfile(facts, io.BytesIO(content))
    return path


def idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))
    return path


def rows_of(x, labels, quote=False):
    mark = '"' if quote else ""
    return [f"{mark}{label}{mark},{','.join(map(str, row))}".encode() for label, row in zip(labels, x, strict=True)]


@pytest.fixture
def bits():
    return np.random.default_rng(0).integers(0, 2, (7, 9))


class TestIdx:
    def test_images_and_labels(self, tmp_path):
        images = np.arange(24).reshape(2, 3, 4)
        assert np.array_equal(read_idx(idx(tmp_path / "a.gz", images)), images)
        assert read_idx(idx(tmp_path / "b.gz", np.arange(5))).tolist() == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (gzip.compress(b"hello there", mtime=0), "an idx file of bytes"),
            (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 9, 1, 2]), mtime=0), "9 values.* got 2"),
            (gzip.compress(bytes(5000), mtime=0)[:20], "Could not read"),
            (b"not gzip", "Could not read"),
        ],
        ids=["no idx header", "too few values", "cut short", "no gzip"],
    )
    def test_broken(self, tmp_path, content, match):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(DataError, match=match):
            read_idx(tmp_path / "a.gz")


class TestTar:
    def test_files_by_name(self, tmp_path):
        path = tar(tmp_path / "a.tgz", **{"./a/b": b"1", "c": b"2", "d": b"3"})
        assert tar_bytes(path, ["a/b", "c"]) == {"a/b": b"1", "c": b"2"}
        with pytest.raises(DataError, match="Expected e in"):
            tar_bytes(path, ["c", "e"])

    def test_broken(self, tmp_path):
        path = tar(tmp_path / "a.tgz", c=np.random.default_rng(0).bytes(5000))
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(DataError, match="Could not read"):
            tar_bytes(path, ["c"])


class TestBinaryTable:
    @pytest.mark.parametrize("quote", [True, False])
    def test_columns_and_what_stands_before(self, bits, quote):
        labels = [1, 22, 3, 100, 5, 6, 7]
        x, before = read_binary_table([*rows_of(bits, labels, quote), b""], 9)
        assert np.array_equal(x, bits)
        assert [int(label) for label in before] == labels

    def test_without_labels(self, bits):
        lines = [",".join(map(str, row)).encode() + b"\r\n" for row in bits]
        x, before = read_binary_table(lines, 9)
        assert np.array_equal(x, bits)
        assert set(before) == {b""}

    def test_other_values(self, bits):
        with pytest.raises(DataError, match="0 or 1 in line 1, got 19 characters"):
            read_binary_table(rows_of(bits, range(7)), 30)
        bits[3, 4] = 7
        with pytest.raises(DataError, match="row 4"):
            read_binary_table(rows_of(bits, range(7)), 9)


class TestSmall:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    @pytest.mark.parametrize("dtype", ["i8", "f4", "u1"])
    def test_as_bytes(self, tmp_path, save, dtype):
        x = np.random.default_rng(0).integers(0, 2, (10_000, 3)).astype(dtype)
        save(tmp_path / "a.npz", x=x)
        small = read_small(tmp_path / "a.npz", "x")
        assert small.dtype == np.uint8
        assert np.array_equal(small, x)

    def test_broken(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=np.array(["a"]), y=np.asfortranarray(np.ones((3, 2))))
        for key, match in (("x", "table of numbers under 'x'"), ("y", "table of numbers"), ("z", "Could not read")):
            with pytest.raises(DataError, match=match):
                read_small(tmp_path / "a.npz", key)


class TestReaders:
    """The readers of datasets that are too large to be here, on archives of the same form."""

    def test_purchase100(self, tmp_path):
        x, y = np.random.default_rng(0).integers(0, 2, (5, 600)), np.array([3, 100, 1, 1, 57])
        archive = tar(tmp_path / "a.tgz", dataset_purchase=b"\n".join(rows_of(x, y)))
        np.savez_compressed(tmp_path / "a.npz", features=x, labels=np.eye(100, dtype=np.float32)[y - 1])
        dataset = DATASETS.get("purchase100")
        for paths in ({"dataset_purchase.tgz": archive}, {"purchase100.npz": tmp_path / "a.npz"}):
            parts = dataset.load(paths)
            assert np.array_equal(parts.x, x)
            assert [parts.classes.index(label) for label in parts.y] == (y - 1).tolist()

    def test_texas100(self, tmp_path):
        x, y = np.random.default_rng(0).integers(0, 2, (5, 6169)), np.array([3, 100, 1, 1, 57])
        feats = b"\n".join(",".join(map(str, row)).encode() for row in x)
        labels = "\n".join(map(str, y)).encode()
        archive = tar(tmp_path / "a.tgz", **{"texas/100/feats": feats, "texas/100/labels": labels})
        parts = DATASETS.get("texas100").load({"dataset_texas.tgz": archive})
        assert np.array_equal(parts.x, x)
        assert [parts.classes.index(label) for label in parts.y] == (y - 1).tolist()

    @pytest.mark.parametrize(("name", "labels"), [("cifar10", 1), ("cifar100", 2)])
    def test_cifar(self, tmp_path, name, labels):
        random = np.random.default_rng(0)
        cifar10 = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
        folder, batches, names = {
            "cifar10": ("cifar-10-batches-bin", cifar10, "batches.meta.txt"),
            "cifar100": ("cifar-100-binary", ["train.bin", "test.bin"], "fine_label_names.txt"),
        }[name]  # fmt: skip
        count = 10 if name == "cifar10" else 100
        images = random.integers(0, 256, (len(batches) * 2, 32, 32, 3), np.uint8)
        y = random.integers(0, count, len(images))
        rows = [
            bytes([200] * (labels - 1) + [y[i]]) + images[i].transpose(2, 0, 1).tobytes() for i in range(len(images))
        ]
        files = {f"{folder}/{batch}": b"".join(rows[2 * i : 2 * i + 2]) for i, batch in enumerate(batches)}
        files[f"{folder}/{names}"] = "\n".join(f"kind{i}" for i in range(count)).encode() + b"\n\n"
        dataset = DATASETS.get(name)
        file = dataset.variants[0][0].name
        parts = dataset.load({file: tar(tmp_path / file, **files)})
        assert np.array_equal(parts.x, images)
        assert np.array_equal(parts.y, y)
        assert len(parts.classes) == count

    def test_mnist(self, tmp_path):
        dataset = DATASETS.get("mnist")
        images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
        arrays = (images[:3], np.array([1, 2, 3]), images[3:], np.array([4, 5]))
        paths = {s.name: idx(tmp_path / s.name, a) for s, a in zip(dataset.variants[0], arrays, strict=True)}
        parts = dataset.load(paths)
        assert np.array_equal(parts.x, images)
        assert parts.y.tolist() == [1, 2, 3, 4, 5]

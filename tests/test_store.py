from __future__ import annotations

import errno
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vestige.errors import ExitCode, StoreError, UsageError
from vestige.store import Store, StoreWarning, digest, files, write_atomically
from vestige.store.artifact import SMALL

DTYPES = ["?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]
DAY = 86400.0


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def age(store: Store, kind: str, key: str, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(store.path(kind, key), (then, then))


def assert_same(found, arrays):
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == np.asarray(array).dtype.newbyteorder("=")
        assert found[name].shape == np.asarray(array).shape
        np.testing.assert_array_equal(found[name], array)


# --- what goes in comes out


def test_every_dtype_and_shape_comes_back(store):
    rng = np.random.default_rng(0)
    arrays = {}
    for dtype in DTYPES:
        for shape in [(), (0,), (3, 0, 2), (1,), (7,), (3, 5)]:
            arrays[f"{dtype}{shape}"] = (rng.random(shape) * 100 - 20 * (dtype[0] in "if")).astype(dtype)
    arrays["nan"] = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    arrays["big_endian"] = np.arange(5, dtype=">i4")
    arrays["fortran"] = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    arrays["strided"] = np.arange(20)[::3]
    store.put("signals", "k", arrays, {"n": np.int64(3), "x": [1.5, "é"], "nested": {"a": None}})
    found = store.get("signals", "k")
    assert_same(found.arrays, arrays)
    assert found.meta == {"n": 3, "x": [1.5, "é"], "nested": {"a": None}}
    assert (found.kind, found.key) == ("signals", "k")


def test_no_arrays_and_no_metadata(store):
    store.put("empty", "k", {})
    assert store.get("empty", "k").arrays == {}
    assert store.get("empty", "k").meta == {}


@pytest.mark.parametrize("size", [100, SMALL])
def test_arrays_are_read_only_aligned_views(store, size):
    store.put("k", "a", {"b": np.ones(3, bool), "x": np.arange(size, dtype=np.float64), "h": np.ones(5, np.float16)})
    arrays = store.get("k", "a").arrays
    for array in arrays.values():
        assert not array.flags.writeable
        assert array.flags.aligned
        assert not array.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_large_artefact_is_mapped_and_not_read(store):
    store.put("k", "a", {"x": np.zeros(4 * SMALL, np.uint8)})
    base = store.get("k", "a").arrays["x"]
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert type(base).__module__ == "mmap"
    store.put("k", "b", {"x": np.zeros(10, np.uint8)})
    base = store.get("k", "b").arrays["x"]
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert isinstance(base, np.ndarray)


def test_any_safetensors_reader_opens_the_files(store):
    arrays = {d: np.arange(6).reshape(2, 3).astype(d) for d in DTYPES} | {"none": np.zeros((0, 2), np.float32)}
    store.put("k", "a", arrays, {"seed": 3})
    assert_same(safetensors.numpy.load_file(store.path("k", "a")), arrays)
    with safetensors.safe_open(store.path("k", "a"), "numpy") as opened:
        assert opened.metadata()["key"] == "a"


def test_equal_contents_make_equal_files(tmp_path):
    one, other = Store(tmp_path / "1"), Store(tmp_path / "2")
    x, y = np.arange(5), np.ones(2, np.float32)
    one.put("k", "a", {"x": x, "y": y}, {"p": 1, "q": 2})
    other.put("k", "a", {"y": y, "x": x}, {"q": 2, "p": 1})
    other.put("k", "a", {"y": y, "x": x}, {"q": 2, "p": 1})
    assert one.path("k", "a").read_bytes() == other.path("k", "a").read_bytes()
    assert other.keys("k") == ["a"]


def test_what_is_absent_is_none(store):
    assert store.get("k", "a") is None
    assert not store.has("k", "a")
    assert store.keys("k") == []
    assert store.size() == 0


def test_a_mapped_artefact_survives_its_replacement_and_removal(store):
    store.put("k", "a", {"x": np.full(2 * SMALL, 1, np.uint8)})
    old = store.get("k", "a")
    store.put("k", "a", {"x": np.full(2 * SMALL, 2, np.uint8)})
    assert store.get("k", "a").arrays["x"].max() == 2
    store.path("k", "a").unlink()
    assert old.arrays["x"].max() == 1
    assert store.get("k", "a") is None


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.zeros(2, complex), np.zeros(2, "M8[s]")])
def test_other_arrays_are_refused(store, array):
    with pytest.raises(UsageError, match="the array 'x' to hold"):
        store.put("k", "a", {"x": array})
    assert list((store.root / "k").iterdir()) == []


def test_metadata_that_is_not_json_is_refused(store):
    with pytest.raises(UsageError, match="a set is not JSON"):
        store.put("k", "a", {}, {"x": {1}})


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "x" * 200, "é"])
def test_names_cannot_leave_the_store(store, name):
    with pytest.raises(UsageError, match="Expected an artefact named"):
        store.has("k", name)
    with pytest.raises(UsageError, match="Expected an artefact named"):
        store.put(name, "k", {})


def test_a_store_can_be_sent_to_another_process(store):
    store.put("k", "a", {"x": np.arange(3)})
    assert pickle.loads(pickle.dumps(store)).has("k", "a")  # noqa: S301
    found = pickle.loads(pickle.dumps(store.get("k", "a")))  # noqa: S301
    assert_same(found.arrays, {"x": np.arange(3)})


# --- damage is noticed


def prepared(store: Store) -> tuple[Path, bytes]:
    arrays = {"x": np.arange(40, dtype=np.float32), "y": np.arange(7) % 2 == 0}
    store.put("k", "a", arrays, {"seed": 3, "names": ["x", "y"]})
    path = store.path("k", "a")
    return path, path.read_bytes()


def assert_set_aside(store: Store, path: Path) -> None:
    fresh = Store(store.root)
    with pytest.warns(StoreWarning, match=re.escape(str(path))):
        assert fresh.get("k", "a") is None
    assert not path.exists()
    assert not fresh.has("k", "a")


lenient = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@lenient
@given(share=st.floats(0, 1, exclude_max=True))
def test_every_truncation_is_noticed(store, share):
    path, whole = prepared(store)
    path.write_bytes(whole[: int(share * len(whole))])
    assert_set_aside(store, path)


@lenient
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(store, share, bit):
    path, whole = prepared(store)
    altered = bytearray(whole)
    altered[int(share * len(whole))] ^= 1 << bit
    path.write_bytes(altered)
    assert_set_aside(store, path)


@settings(lenient, max_examples=30)
@given(extra=st.binary(min_size=1, max_size=100))
def test_added_bytes_are_noticed(store, extra):
    path, whole = prepared(store)
    path.write_bytes(whole + extra)
    assert_set_aside(store, path)


@settings(lenient, max_examples=50)
@given(content=st.binary(max_size=300))
def test_any_other_file_is_noticed(store, content):
    path, _ = prepared(store)
    path.write_bytes(content)
    assert_set_aside(store, path)


def test_every_byte_of_the_header_counts(store):
    path, whole = prepared(store)
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in range(header):
        altered = bytearray(whole)
        altered[place] ^= 0x10
        path.write_bytes(altered)
        with pytest.warns(StoreWarning):
            assert Store(store.root).get("k", "a") is None


def test_a_file_in_the_wrong_place_is_noticed(store):
    store.put("k", "b", {"x": np.arange(3)})
    store.path("k", "b").rename(store.path("k", "a"))
    assert_set_aside(store, store.path("k", "a"))


def test_a_foreign_safetensors_file_is_noticed(store):
    path, _ = prepared(store)
    path.write_bytes(safetensors.numpy.save({"x": np.arange(3)}))
    assert_set_aside(store, path)


def test_a_folder_in_the_place_of_an_artefact_is_set_aside(store):
    store.path("k", "a").mkdir(parents=True)
    assert_set_aside(store, store.path("k", "a"))


def test_a_damaged_artefact_can_be_made_again_in_the_same_process(store):
    path, whole = prepared(store)
    assert store.get("k", "a") is not None
    path.write_bytes(whole[:-1])
    with pytest.warns(StoreWarning, match="damaged"):
        assert store.get("k", "a") is None
    prepared(store)
    assert path.read_bytes() == whole
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.get("k", "a").meta["seed"] == 3


def test_a_damaged_file_that_cannot_be_moved_counts_as_absent(store, monkeypatch):
    path, whole = prepared(store)
    path.write_bytes(whole[:-1])

    def refuse(self, target):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.warns(StoreWarning, match="damaged"):
        assert store.get("k", "a") is None
    assert path.exists()
    assert not store.has("k", "a")
    monkeypatch.undo()
    prepared(store)
    assert store.has("k", "a")
    assert store.get("k", "a") is not None


def test_contents_are_verified_once(store, monkeypatch):
    prepared(store)
    seen = []
    real = files.os.fstat
    from vestige.store import artifact

    compare = artifact._compare
    monkeypatch.setattr(artifact, "_compare", lambda *a: (seen.append(1), compare(*a)))
    for _ in range(3):
        store.get("k", "a")
    assert len(seen) == 1
    Store(store.root).get("k", "a")
    assert len(seen) == 2
    assert real is files.os.fstat


def test_too_many_open_files_is_not_damage(store, monkeypatch):
    path, whole = prepared(store)

    def refuse(self, *args, **kwargs):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StoreError, match="too many files are open"):
        store.get("k", "a")
    monkeypatch.undo()
    assert path.read_bytes() == whole


# --- a disk that does not play along


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_harms_nothing(store, monkeypatch, number, call):
    path, whole = prepared(store)

    def fail(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((files.os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    with pytest.raises(StoreError) as caught:
        store.put("k", "a", {"x": np.zeros(3)})
    monkeypatch.undo()
    assert caught.value.exit_code == ExitCode.USAGE
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


FULL_DISK = """
import resource, sys
import numpy as np
from vestige.errors import StoreError
from vestige.store import Store
store = Store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store.put("k", "small", {"x": np.zeros(1000)})
try:
    store.put("k", "large", {"x": np.zeros(100_000)})
except StoreError as error:
    print(error)
    sys.exit(int(error.exit_code))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_really_failing_write_leaves_no_trace(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "the disk or quota is full" in done.stdout
    assert sorted(p.name for p in (tmp_path / "k").iterdir()) == ["small.safetensors"]
    assert Store(tmp_path).get("k", "small").arrays["x"].shape == (1000,)


def test_a_store_on_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in ("file", "file/below"):
        with pytest.raises(StoreError, match="a file is where a folder should be"):
            Store(tmp_path / place)


def test_check_writable(store, monkeypatch):
    store.check_writable()
    assert list(store.root.iterdir()) == []
    shutil.rmtree(store.root)
    with pytest.raises(StoreError, match="Could not write"):
        store.check_writable()


def test_a_store_deleted_under_way_is_made_again(store):
    store.put("k", "a", {"x": np.arange(3)})
    shutil.rmtree(store.root)
    assert store.get("k", "a") is None
    assert store.usage() == {}
    store.put("k", "a", {"x": np.arange(3)})
    assert store.has("k", "a")


# --- housekeeping


def fill(store: Store) -> None:
    for day in range(6):
        store.put("signals" if day % 2 else "models", f"d{day}", {"x": np.zeros(1000)}, {"day": day})
        age(store, "signals" if day % 2 else "models", f"d{day}", day)


def test_usage_keys_and_size(store):
    fill(store)
    usage = store.usage()
    assert list(usage) == ["models", "signals"]
    assert {kind: use.artefacts for kind, use in usage.items()} == {"models": 3, "signals": 3}
    assert sum(use.bytes for use in usage.values()) == store.size()
    assert store.size() == sum(p.stat().st_size for p in store.root.rglob("*.safetensors"))
    assert store.keys("models") == ["d0", "d2", "d4"]


def test_collect_by_age(store):
    fill(store)
    before = store.size()
    freed = store.collect(older_than_days=2.5)
    assert freed == before - store.size()
    assert store.keys("models") == ["d0", "d2"]
    assert store.keys("signals") == ["d1"]


def test_collect_by_size_takes_the_longest_unused_first(store):
    fill(store)
    one = store.size() // 6
    assert store.collect(max_bytes=2 * one) == 4 * one
    assert store.keys("models") == ["d0"]
    assert store.keys("signals") == ["d1"]
    assert store.collect() == 0
    assert store.collect(max_bytes=0) == one
    assert store.keys("models") == ["d0"], "made within the hour"


def test_use_postpones_collection(store):
    fill(store)
    made = store.path("models", "d4").stat().st_mtime_ns
    assert store.get("models", "d4") is not None
    assert store.path("models", "d4").stat().st_mtime_ns == made
    store.collect(older_than_days=0)
    assert store.keys("models") == ["d0", "d4"]


def test_leftovers_are_swept_when_old(store):
    store.put("k", "a", {"x": np.zeros(3)})
    old, new = store.root / "k" / ".b.1-2.tmp", store.root / "k" / ".c.1-2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    assert store.collect() == 0
    assert files.sweep(store.root / "k", older_than=-1) == 8
    assert store.keys("k") == ["a"]


def test_leftovers_are_swept_by_the_first_put(store, monkeypatch):
    store.put("k", "a", {"x": np.zeros(3)})
    (store.root / "k" / ".b.1-2.tmp").write_bytes(b"half")
    later = time.time() + 2 * files.HOUR
    monkeypatch.setattr(files.time, "time", lambda: later)
    Store(store.root).put("k", "c", {})
    assert sorted(p.name for p in (store.root / "k").iterdir()) == ["a.safetensors", "c.safetensors"]


# --- the index is only a memory


def summary(store: Store, kind: str | None = None):
    return [(e.kind, e.key, e.bytes, dict(e.meta)) for e in store.entries(kind)]


def expected(store: Store):
    sizes = {day: store.path("signals" if day % 2 else "models", f"d{day}").stat().st_size for day in range(6)}
    return [("signals" if day % 2 else "models", f"d{day}", sizes[day], {"day": day}) for day in range(6)]


def test_entries_list_the_latest_first(store):
    fill(store)
    assert summary(store) == expected(store)
    assert summary(store, "models") == [e for e in expected(store) if e[0] == "models"]
    for day, entry in enumerate(store.entries()):
        assert entry.created == pytest.approx(time.time() - day * DAY, abs=60)
        assert entry.last_used == pytest.approx(time.time() - day * DAY, abs=60)


def test_entries_come_from_the_index_and_follow_the_folder(store, monkeypatch):
    fill(store)
    summary(store)
    from vestige.store import artifact

    opened = []
    real = artifact.read_meta
    monkeypatch.setattr(artifact, "read_meta", lambda path: (opened.append(path.stem), real(path))[1])
    assert summary(store) == expected(store)
    assert opened == []
    store.path("models", "d0").unlink()
    store.put("models", "new", {}, {"fresh": True})
    store.put("signals", "d1", {}, {"changed": True})
    found = {entry.key: dict(entry.meta) for entry in store.entries()}
    assert sorted(opened) == ["d1", "new"]
    assert found == {"new": {"fresh": True}, "d1": {"changed": True}} | {f"d{d}": {"day": d} for d in (2, 3, 4, 5)}


@pytest.mark.parametrize("damage", ["lost", "garbage", "cut", "folder", "flipped", "foreign"])
def test_a_broken_index_is_made_again(store, damage):
    fill(store)
    summary(store)
    index = store.root / "index.sqlite"
    whole = index.read_bytes()
    if damage == "lost":
        index.unlink()
    elif damage == "garbage":
        index.write_bytes(b"nonsense" * 1000)
    elif damage == "cut":
        index.write_bytes(whole[: len(whole) // 2])
    elif damage == "folder":
        index.unlink()
        index.mkdir()
    elif damage == "flipped":
        index.write_bytes(whole[:100] + bytes(255 - b for b in whole[100:]))
    else:
        import sqlite3

        index.unlink()
        with sqlite3.connect(index) as other:
            other.execute("CREATE TABLE artefacts (a, b)")
        other.close()
    assert summary(store) == expected(store)
    store.put("models", "new", {}, {"fresh": True})
    assert len(store.entries()) == 7
    assert store.get("models", "d0").meta == {"day": 0}


def test_a_locked_index_is_done_without(store):
    import sqlite3

    fill(store)
    summary(store)
    with sqlite3.connect(store.root / "index.sqlite", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        store.put("models", "new", {}, {"fresh": True})
        assert len(store.entries()) == 7
        other.execute("ROLLBACK")
    other.close()


def test_a_python_without_sqlite_lists_too(store, monkeypatch):
    fill(store)
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    monkeypatch.delitem(sys.modules, "vestige.store.index", raising=False)
    monkeypatch.delattr("vestige.store.index", raising=False)
    assert summary(store) == expected(store)
    assert not (store.root / "index.sqlite").exists()


# --- where it is, and how fast it opens


def test_default_place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VESTIGE_STORE", str(tmp_path / "named"))
    assert Store.default(tmp_path / "given").root == tmp_path / "given"
    assert Store.default().root == tmp_path / "named"
    monkeypatch.delenv("VESTIGE_STORE")
    if sys.platform == "linux":
        assert Store.default().root == tmp_path / "cache" / "vestige" / "store"
    assert repr(Store(tmp_path)) == f"Store('{tmp_path}')"


def test_opening_is_quick(store):
    fill(store)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        Store(store.root).has("models", "d0")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.005


# --- plain files


def test_write_atomically(tmp_path):
    path = tmp_path / "new" / "folder" / "audit.json"
    write_atomically(path, b"one")
    write_atomically(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_write_atomically_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "audit.json"
    write_atomically(path, b"old")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match=r"Could not write '.*audit.json': the disk or quota is full\."):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_refuses_folders_and_keeps_devices(tmp_path):
    with pytest.raises(StoreError, match="a file is where a folder should be, or the reverse"):
        write_atomically(tmp_path, b"x")
    device = Path(os.devnull)
    write_atomically(device, b"x")
    assert not device.is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="modes of another system")
def test_files_may_be_shared(tmp_path):
    old = os.umask(0o002)
    try:
        Store(tmp_path).put("k", "a", {})
    finally:
        os.umask(old)
    assert Store(tmp_path).path("k", "a").stat().st_mode & 0o777 == 0o664


def test_digest_is_the_store_s_key(store):
    key = digest("k", {"x": 1})
    store.put("k", key, {})
    assert store.keys("k") == [key]

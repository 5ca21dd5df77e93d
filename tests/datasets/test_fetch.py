from __future__ import annotations

import hashlib
import http.server
import os
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vestige.datasets import DATASETS, checksums, fetch, load_dataset
from vestige.datasets.base import Dataset, Parts, Source
from vestige.datasets.checksums import checksum
from vestige.datasets.folders import cache_folder, data_folders
from vestige.errors import DataError, ExitCode, UsageError
from vestige.store.folder import user_cache

CONTENT = b"\n".join(b"%d,%d" % (i, i % 2) for i in range(20))
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def read(paths):
    rows = np.loadtxt(paths["toy.txt"], delimiter=",")
    return Parts(rows[:, :1], rows[:, 1].astype(int), ("even", "odd"))


def toy(*urls, accepted=(SHA,)):
    source = Source(name="toy.txt", checksums=accepted, urls=urls)
    return Dataset(
        name="toy", description="", shape=(20, 1), classes=2, licence="", home="https://example.org", load=read,
        variants=((source,),),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("VESTIGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VESTIGE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(fetch, "PAUSE", 0.0)


@pytest.fixture
def home(tmp_path):
    """A public home: a folder served over HTTP; ``asked`` lists the requests, ``fail`` makes the next ones fail."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "toy.txt").write_bytes(CONTENT)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            home.asked.append(self.path)
            if home.fail:
                self.send_error(home.fail.pop(0))
                return
            path = folder / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            body = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: home.cut])

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    class Home:
        url = f"http://127.0.0.1:{server.server_port}"
        asked: list[str]
        fail: list[int]
        cut: int | None = None

    home = Home()
    home.asked, home.fail, home.folder = [], [], folder
    yield home
    server.shutdown()
    thread.join()
    server.server_close()


def put(folder, content=CONTENT):
    path = folder / "toy" / "toy.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class TestLookup:
    def test_data_folders_come_first_then_the_cache_then_the_home(self, tmp_path, monkeypatch, home):
        dataset = toy(f"{home.url}/toy.txt")
        downloaded = fetch.locate(dataset)["toy.txt"]
        assert downloaded == tmp_path / "cache" / "datasets" / "toy" / "toy.txt"
        assert downloaded.read_bytes() == CONTENT
        assert fetch.locate(dataset)["toy.txt"] == downloaded
        assert home.asked == ["/toy.txt"]
        second = put(tmp_path / "second")
        monkeypatch.setenv("VESTIGE_DATA", os.pathsep.join([str(tmp_path / "data"), str(tmp_path / "second")]))
        assert fetch.locate(dataset)["toy.txt"] == second
        first = put(tmp_path / "data")
        assert fetch.locate(dataset)["toy.txt"] == first

    def test_any_complete_variant_will_do(self, tmp_path):
        other = Source(name="other.txt", checksums=(SHA,))
        dataset = replace(toy("http://nowhere.invalid/toy.txt"), variants=((other, other), *toy().variants))
        path = put(tmp_path / "data")
        assert fetch.locate(dataset) == {"toy.txt": path}

    def test_altered_file_of_the_user_is_an_error(self, tmp_path):
        path = put(tmp_path / "data", CONTENT + b"\n")
        with pytest.raises(DataError, match=f"{path} to be the published file.*{SHA}") as caught:
            fetch.locate(toy())
        assert caught.value.exit_code == ExitCode.USAGE

    def test_altered_file_in_the_cache_is_replaced(self, tmp_path, home):
        dataset = toy(f"{home.url}/toy.txt")
        path = fetch.locate(dataset)["toy.txt"]
        path.write_bytes(CONTENT[:10])
        with pytest.warns(RuntimeWarning, match="damaged and will be downloaded again"):
            assert fetch.locate(dataset)["toy.txt"].read_bytes() == CONTENT

    def test_verified_once_for_the_same_size_and_time(self, tmp_path, monkeypatch):
        path = put(tmp_path / "data")
        read_files = []
        monkeypatch.setattr(checksums, "checksum", lambda path, kind: read_files.append(path) or checksum(path, kind))
        for _ in range(3):
            fetch.locate(toy())
        assert read_files == [path]
        os.utime(path, (1, 1))
        fetch.locate(toy())
        assert read_files == [path, path]

    def test_a_cache_that_cannot_be_written_is_no_obstacle(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("VESTIGE_CACHE", str(tmp_path / "file"))
        path = put(tmp_path / "data")
        assert fetch.locate(toy())["toy.txt"] == path
        with pytest.raises(DataError, match=r"Could not write .*VESTIGE_CACHE"):
            fetch.locate(replace(toy("http://127.0.0.1:9/toy.txt"), name="absent"))

    def test_folders(self, tmp_path, monkeypatch):
        monkeypatch.setenv("VESTIGE_DATA", os.pathsep.join(["~/a", "", "b"]))
        assert [str(f) for f in data_folders()] == [str(Path("~/a").expanduser()), "b"]
        assert cache_folder() == tmp_path / "cache" / "datasets"
        monkeypatch.delenv("VESTIGE_CACHE")
        assert cache_folder() == user_cache() / "datasets"


class TestDownload:
    def test_reports_progress(self, home):
        seen = []
        fetch.locate(toy(f"{home.url}/toy.txt"), lambda name, done, total: seen.append((name, done, total)))
        assert seen[-1] == ("toy.txt", len(CONTENT), len(CONTENT))

    def test_tries_again_after_passing_faults(self, home):
        home.fail = [503, 429]
        fetch.locate(toy(f"{home.url}/toy.txt"))
        assert home.asked == ["/toy.txt"] * 3

    def test_tries_the_next_home_after_a_lasting_fault(self, home):
        fetch.locate(toy(f"{home.url}/gone.txt", f"{home.url}/toy.txt"))
        assert home.asked == ["/gone.txt", "/toy.txt"]

    def test_tries_the_next_variant(self, home):
        dataset = toy(f"{home.url}/toy.txt")
        gone = Source(name="gone.txt", checksums=(SHA,), urls=(f"{home.url}/gone.txt",))
        paths = fetch.locate(replace(dataset, variants=((gone,), *dataset.variants)))
        assert list(paths) == ["toy.txt"]

    def test_takes_a_file_out_of_an_archive(self, home):
        with zipfile.ZipFile(home.folder / "all.zip", "w") as archive:
            archive.writestr("toy.txt", CONTENT)
        path = fetch.locate(toy(f"{home.url}/all.zip#toy.txt"))["toy.txt"]
        assert path.read_bytes() == CONTENT

    @pytest.mark.parametrize(
        ("prepare", "match"),
        [
            (lambda home: (home.folder / "toy.txt").write_bytes(b"another"), "not the published one"),
            (lambda home: (home.folder / "toy.txt").unlink(), "HTTP 404"),
            (lambda home: home.fail.extend([500] * 9), "Internal Server Error"),
            (lambda home: setattr(home, "cut", 10), "IncompleteRead"),
        ],
    )
    def test_that_fails_says_where_to_put_the_file_and_leaves_nothing(self, tmp_path, home, prepare, match):
        prepare(home)
        with pytest.raises(DataError, match=match) as caught:
            fetch.locate(toy(f"{home.url}/toy.txt"))
        assert f"Put into {tmp_path / 'data' / 'toy'}: toy.txt ({SHA})" in str(caught.value)
        assert list((tmp_path / "cache" / "datasets" / "toy").iterdir()) == []

    def test_archive_without_the_file(self, home):
        with zipfile.ZipFile(home.folder / "all.zip", "w") as archive:
            archive.writestr("other.txt", CONTENT)
        with pytest.raises(DataError, match=r"no 'toy.txt' in it"):
            fetch.locate(toy(f"{home.url}/all.zip#toy.txt"))

    def test_offline(self):
        with pytest.raises(DataError, match=r"Could not download 'toy'.*refused.*Put into"):
            fetch.locate(toy("http://127.0.0.1:9/toy.txt"))

    def test_never_published(self, monkeypatch):
        with pytest.raises(DataError, match=r"not published for download.*Put into"):
            fetch.locate(toy())
        monkeypatch.delenv("VESTIGE_DATA")
        with pytest.raises(DataError, match="below a folder that VESTIGE_DATA names"):
            fetch.locate(toy())


class TestChecksums:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("sha256", SHA),
            ("md5", f"md5:{hashlib.md5(CONTENT).hexdigest()}"),
            ("git", f"git:{hashlib.sha1(b'blob %d' % len(CONTENT) + bytes(1) + CONTENT).hexdigest()}"),
        ],
    )
    def test_kinds(self, tmp_path, kind, expected):
        assert checksum(put(tmp_path), kind) == expected

    def test_git_agrees_with_git(self, tmp_path):
        path = tmp_path / "hello"
        path.write_bytes(b"hello\n")  # `git hash-object` of this file
        assert checksum(path, "git") == "git:ce013625030ba8dba906f756967f9e9ca394464a"

    def test_any_of_several_will_do(self, tmp_path):
        path = put(tmp_path)
        assert checksums.matches(path, Source(name="", checksums=("md5:0", "sha256:0", SHA)))
        assert not checksums.matches(path, Source(name="", checksums=("md5:0", "sha256:0")))


class TestLoad:
    @pytest.fixture(autouse=True)
    def registered(self, tmp_path, monkeypatch):
        put(tmp_path / "data")
        monkeypatch.setitem(DATASETS._values, "toy", toy())

    def test_builds_records(self):
        records = load_dataset("toy")
        assert records.name == "toy"
        assert records.classes == ("even", "odd")
        assert len(records) == 20

    def test_limit_is_a_random_subset_in_order_that_keeps_ids(self):
        few = load_dataset("toy", limit=7)
        assert len(few) == 7
        assert np.array_equal(few.x[:, 0], few.ids)
        assert np.all(np.diff(few.ids) > 0)
        assert np.array_equal(few.ids, load_dataset("toy", limit=7).ids)
        assert not np.array_equal(few.ids, load_dataset("toy", limit=7, seed=1).ids)
        assert len(load_dataset("toy", limit=99)) == 20

    def test_impossible_requests(self):
        with pytest.raises(UsageError, match="at least 2 records, got 1"):
            load_dataset("toy", limit=1)
        with pytest.raises(UsageError, match=r"no dataset called 'toi'.*'toy'"):
            load_dataset("toi")

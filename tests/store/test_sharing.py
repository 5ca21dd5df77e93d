"""Several processes in one store: killed in the middle of writes, writing the same keys, claiming the same work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from vestige.errors import StoreError
from vestige.store import Store, claims

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

WRITER = """
import sys
import numpy as np
from vestige.store import Store
store = Store(sys.argv[1])
print("ready", flush=True)
for turn in range(10**9):
    for number in range(20):
        store.put("k", f"n{number}", {"x": np.full(200_000 + number, number, np.int32)}, {"number": number})
"""

READER = """
import sys, time, warnings
from vestige.store import Store
warnings.simplefilter("error")
end = time.monotonic() + float(sys.argv[2])
seen = 0
while time.monotonic() < end:
    store = Store(sys.argv[1])
    for number in range(20):
        found = store.get("k", f"n{number}")
        if found is not None:
            x = found.arrays["x"]
            assert found.meta["number"] == number and len(x) == 200_000 + number
            assert x[0] == x[-1] == number
            seen += 1
print(seen)
"""


def start(code, *args):
    command = [sys.executable, "-c", code, *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def assert_whole(root, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = Store(root)
        for key in store.keys("k"):
            assert store.get("k", key).meta["number"] == int(key[1:])
            assert store.path("k", key).read_bytes() == expected[key]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("expected"))
    for number in range(20):
        store.put("k", f"n{number}", {"x": np.full(200_000 + number, number, np.int32)}, {"number": number})
    return {key: store.path("k", key).read_bytes() for key in store.keys("k")}


@posix
def test_kills_at_random_moments_leave_only_whole_artefacts(tmp_path, expected):
    rng = np.random.default_rng(0)
    halves = 0
    for _ in range(20):
        writer = start(WRITER, tmp_path)
        assert writer.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert_whole(tmp_path, expected)
        halves += len(list(tmp_path.glob("k/.*.tmp")))
    assert Store(tmp_path).keys("k")
    assert halves, "no kill fell into a write: this test would not notice a half-written artefact"


def test_two_writers_and_a_reader_of_the_same_keys(tmp_path, expected):
    writers = [start(WRITER, tmp_path) for _ in range(2)]
    reader = start(READER, tmp_path, 2.5)
    seen, errors = reader.communicate()
    for writer in writers:
        assert writer.poll() is None, writer.stderr.read()
        writer.kill()
        writer.communicate()
    assert reader.returncode == 0, errors
    assert int(seen) > 0
    assert_whole(tmp_path, expected)


# --- claims

HOLDER = """
import sys, time
from vestige.store import Store
with Store(sys.argv[1]).claim("models", "a") as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def claim_file(store):
    return store.root / "claims" / "models-a.claim"


def test_one_claim_at_a_time(store):
    with store.claim("models", "a") as mine, store.claim("models", "a") as again, store.claim("models", "b") as other:
        assert (mine, again, other) == (True, False, True)
        assert claim_file(store).exists()
    assert not claim_file(store).exists()
    with store.claim("models", "a") as mine:
        assert mine


def test_a_claim_is_given_back_after_an_error(store):
    with pytest.raises(RuntimeError), store.claim("models", "a"):
        raise RuntimeError
    with store.claim("models", "a") as mine:
        assert mine


@posix
def test_a_dead_process_holds_nothing(store):
    holder = start(HOLDER, store.root)
    assert holder.stdout.readline() == "True\n"
    with store.claim("models", "a") as mine:
        assert not mine
    holder.kill()
    holder.communicate()
    assert claim_file(store).exists()
    with store.claim("models", "a") as mine:
        assert mine
    assert list((store.root / "claims").iterdir()) == []


def elsewhere(store, age):
    claim_file(store).parent.mkdir()
    claim_file(store).write_text(json.dumps({"token": "t", "pid": 1, "machine": "another"}))
    then = time.time() - age
    os.utime(claim_file(store), (then, then))


@pytest.mark.parametrize(("age", "expected"), [(0, False), (claims.STALE - 60, False), (claims.STALE + 60, True)])
def test_a_claim_from_another_machine_lasts_ten_minutes(store, age, expected):
    elsewhere(store, age)
    with store.claim("models", "a") as mine:
        assert mine is expected
    assert claim_file(store).exists() is not expected


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\x00", b'{"pid": "x"}'])
def test_an_unreadable_claim_counts_until_it_is_old(store, content):
    elsewhere(store, 0)
    claim_file(store).write_bytes(content)
    with store.claim("models", "a") as mine:
        assert not mine
    os.utime(claim_file(store), (0, 0))
    with store.claim("models", "a") as mine:
        assert mine


def test_a_held_claim_is_renewed(store, monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT", 0.01)
    with store.claim("models", "a"):
        os.utime(claim_file(store), (0, 0))
        for _ in range(200):
            time.sleep(0.01)
            if claim_file(store).stat().st_mtime > 0:
                break
        assert claim_file(store).stat().st_mtime == pytest.approx(time.time(), abs=60)


def test_a_claim_lost_to_another_is_not_taken_back(store):
    with store.claim("models", "a"):
        claim_file(store).write_text(json.dumps({"token": "theirs"}))
    assert json.loads(claim_file(store).read_text())["token"] == "theirs"


def test_a_claim_needs_a_writable_store(store):
    (store.root / "claims").write_text("in the way")
    with pytest.raises(StoreError, match="a file is where a folder should be"), store.claim("models", "a"):
        pass


def test_claims_name_no_machine_or_user(store):
    import getpass
    import socket

    with store.claim("models", "a"):
        text = claim_file(store).read_text()
    assert socket.gethostname() not in text
    assert f'"{getpass.getuser()}"' not in text


def test_old_claims_are_collected_and_are_no_artefacts(store):
    elsewhere(store, 2 * 3600)
    assert store.usage() == {}
    assert store.entries() == []
    assert claims.machine() == claims.machine()
    os.utime(claim_file(store))
    store.collect()
    assert claim_file(store).exists()


RACER = """
import sys, time
from vestige.store import Store, claims
store = Store(sys.argv[1])
while time.time() < float(sys.argv[2]):
    pass
with store.claim("models", "a") as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def test_of_many_at_once_one_gets_it(store):
    elsewhere(store, claims.STALE + 60)
    moment = time.time() + 2
    racers = [start(RACER, store.root, moment) for _ in range(4)]
    answers = [racer.stdout.readline().strip() for racer in racers]
    for racer in racers:
        racer.communicate()
    assert sorted(answers) == ["False", "False", "False", "True"]

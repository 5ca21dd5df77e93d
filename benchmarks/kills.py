"""Kill an audit at random moments, run it again, and compare its bytes with those of an undisturbed run."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def command(config: str, out: Path, extra: list[str]) -> list[str]:
    return [sys.executable, "-m", "vestige", "audit", config, "--out", str(out), "--quiet", *extra]


def digest(out: Path, store: Path) -> str:
    """Hash the scores, the log without times, and every signal in the store."""
    hashed = hashlib.sha256((out / "records.csv").read_bytes())
    log = json.loads((out / "audit.json").read_text())
    for attack in log["attacks"]:
        attack.pop("seconds")
        hashed.update(json.dumps(attack, sort_keys=True).encode())
    for path in sorted((store / "signals").rglob("*.safetensors")):
        hashed.update(path.name.encode() + path.read_bytes())
    return hashed.hexdigest()


def count(store: Path) -> int:
    return len(list((store / "signals").glob("*.safetensors")))


def wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="digits")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="passed to vestige audit")
    options = parser.parse_args()
    extra = [part for one in options.set for part in ("--set", one)]
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        environment = {**os.environ, "VESTIGE_STORE": str(root / "calm")}
        start = time.perf_counter()
        subprocess.run(command(options.config, root / "calm-out", extra), env=environment, check=True)
        whole = time.perf_counter() - start
        expected = digest(root / "calm-out", root / "calm")
        files = count(root / "calm")
        print(f"undisturbed: {whole:.1f} s, {files} files of signals, {expected[:16]}")
        failures = 0
        for kill in range(options.kills):
            store, out = root / f"store-{kill}", root / f"out-{kill}"
            environment["VESTIGE_STORE"] = str(store)
            process = subprocess.Popen(command(options.config, out, extra), env=environment, start_new_session=True)
            # Every third kill by the clock; the others while models are trained, which is the moment that matters.
            begun = time.perf_counter()
            if kill % 3 == 0:
                wait(process, random.uniform(0.05, 0.98) * whole)
            else:
                wanted = random.randrange(files)
                while process.poll() is None and count(store) < wanted:
                    time.sleep(0.002)
                wait(process, random.uniform(0, 0.3))
            after = time.perf_counter() - begun
            finished = process.poll() is not None
            if not finished:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            kept = count(store)
            subprocess.run(command(options.config, out, extra), env=environment, check=True)
            same = digest(out, store) == expected
            failures += not same
            print(
                f"kill {kill + 1:2d} after {after:5.1f} s{' (too late)' if finished else ''}, "
                f"{kept:3d} of {files} files kept: {'same bytes' if same else 'DIFFERENT'}",
                flush=True,
            )
        print(f"{options.kills - failures} of {options.kills} resumed to the same bytes")
        sys.exit(int(failures > 0))


if __name__ == "__main__":
    main()

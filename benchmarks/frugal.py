"""What starting costs: the import, the help, and the modules that come with them."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

HEAVY = ("torch", "sklearn", "pandas", "matplotlib", "altair", "pyarrow", "xgboost", "lightgbm")


def seconds(command: list[str], runs: int) -> float:
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    bare = seconds([sys.executable, "-c", "pass"], runs)
    whole = seconds([sys.executable, "-c", "import vestige"], runs)
    inside = "import time; t = time.perf_counter(); import vestige; print(time.perf_counter() - t)"
    alone = float(subprocess.run([sys.executable, "-c", inside], check=True, capture_output=True, text=True).stdout)
    shown = seconds([sys.executable, "-m", "vestige", "--help"], runs)
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, vestige; print([m for m in {HEAVY!r} if m in sys.modules])"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    print(f"python itself        {bare:.3f} s")
    print(f"import vestige       {whole:.3f} s as a process, {alone:.4f} s for the import (asked: under 0.3)")
    print(f"vestige --help       {shown:.3f} s (asked: under 0.5)")
    print(f"heavy modules loaded by the import: {loaded} (asked: none)")


if __name__ == "__main__":
    main()

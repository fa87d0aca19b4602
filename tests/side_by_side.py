"""All checks at once: tests on Spark, on Sail, of killed runs, without a session; lint and types.

    python tests/side_by_side.py [OPTION OF PYTEST ...]

What a process says is shown when it ends. The exit code is that of the first that failed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
HISTORIES = "tests/histories"
SAIL = ["--engine", "sail", "-m", "spark or sail"]


def tests(*options: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "--color=no", *options, *sys.argv[1:]]


PARTS = {
    "Tests on Spark": tests("-m", "spark or jvm"),
    "Tests on Sail": tests(*SAIL, "--ignore", HISTORIES),
    "Histories of runs, on Sail": tests(*SAIL, HISTORIES),
    "Tests without a session": tests("-m", "not (spark or sail or jvm)"),
    "Format, lint and types": ["make", "--no-print-directory", "check"],
}


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def main() -> int:
    began = time.monotonic()
    codes = []
    sys.stdout.write(f"{'; '.join(PARTS)}: at once, each shown when it ends.\n")
    with ThreadPoolExecutor(len(PARTS)) as pool:
        parts = {pool.submit(run, command): name for name, command in PARTS.items()}
        for part in as_completed(parts):
            done = part.result()
            minutes = (time.monotonic() - began) / 60
            sys.stdout.write(f"\n{done.stdout}{parts[part]}: after {minutes:.1f} minutes.\n")
            sys.stdout.flush()
            is_none = done.returncode == 5 and sys.argv[1:]  # options may choose no test of a part
            codes.append(0 if is_none else done.returncode)
    return next(filter(None, codes), 0)


if __name__ == "__main__":
    sys.exit(main())

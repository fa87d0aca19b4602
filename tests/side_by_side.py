"""All tests, in three processes at once: on Spark, on Sail, and those that need no session.

    python tests/side_by_side.py [OPTION OF PYTEST ...]

What a process says is shown when it ends. The exit code is that of the first that failed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

PARTS = {
    "on Spark": ["-m", "spark or jvm"],
    "on Sail": ["--engine", "sail", "-m", "spark or sail"],
    "without a session": ["-m", "not (spark or sail or jvm)"],
}


def run(options: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--color=no", *options, *sys.argv[1:]]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def main() -> int:
    began = time.monotonic()
    codes = []
    sys.stdout.write(f"Tests {', '.join(PARTS)}: at once, each shown when it ends.\n")
    with ThreadPoolExecutor(len(PARTS)) as pool:
        parts = {pool.submit(run, options): name for name, options in PARTS.items()}
        for part in as_completed(parts):
            done = part.result()
            minutes = (time.monotonic() - began) / 60
            sys.stdout.write(f"\n{done.stdout}Tests {parts[part]}, after {minutes:.1f} minutes.\n")
            sys.stdout.flush()
            codes.append(done.returncode)
    return next(filter(None, codes), 0)


if __name__ == "__main__":
    sys.exit(main())

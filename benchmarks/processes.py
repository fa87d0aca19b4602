"""A whole process with all that it starts: seconds, processor seconds, memory. Linux."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_SET_CHILD_SUBREAPER = 36  # prctl(2): orphans, such as PySpark's JVM, come to us


@dataclass(frozen=True)
class Cost:
    """What a process and its descendants took, from start to the end of the last of them."""

    seconds: float
    cpu: float
    """User and system seconds of all processes: hardly moved by what else the machine does."""
    memory: int
    """Bytes: the most that one of the processes held."""


def cost(command: list[str], *, log: Path, timeout: float) -> Cost:
    """Run the command to its end, its words in `log`.

    Raises:
        RuntimeError: it failed, or took longer than `timeout` seconds.
    """
    watched = [sys.executable, str(Path(__file__).resolve()), str(log), *command]
    try:
        told = subprocess.run(watched, capture_output=True, timeout=timeout, check=True).stdout
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        tail = log.read_text(encoding="utf-8", errors="replace")[-3000:] if log.exists() else ""
        message = f"{' '.join(command)}: {type(error).__name__}\n{tail}"
        raise RuntimeError(message) from error
    return Cost(**json.loads(told))


def _watch(log: Path, command: list[str]) -> Cost:
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    began = time.monotonic()
    with log.open("wb") as stream:
        child = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        status = 0
        while True:
            try:
                ended, code = os.wait()
            except ChildProcessError:
                break
            status = code if ended == child.pid else status
        child.returncode = status  # waited for above
    if status:
        raise SystemExit(1)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


if __name__ == "__main__":
    print(json.dumps(asdict(_watch(Path(sys.argv[1]), sys.argv[2:]))))

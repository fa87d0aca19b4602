"""Uploads against the emulator: throughput beside a bare copy by the same library, and memory.

    python benchmarks/upload.py --gigabytes 1 --files 100

Each round sends the same files to the same server, a process of its own, three times: by httpx
in as many threads, bare and with the hash of each file taken beside, and by the uploader. Figures
are paired by round, the order turns. The server receives each body as always; it reads no lines.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from spark_profiles import stores
from spark_profiles.audit.records import FileRecord
from spark_profiles.delivery import upload
from spark_profiles.delivery.datamart import Connection, Datamart, Token
from spark_profiles.delivery.reading import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spark_profiles.audit.records import RejectedLine
    from spark_profiles.delivery.channel import Exchange


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["BENCHMARK_TOKEN"] = "api:any"
    folder = Path(tempfile.mkdtemp(prefix="upload-benchmark-"))
    try:
        measure(folder, arguments)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    record = write(folder, round(arguments.gigabytes * 1e9 / arguments.files))
    files = [
        FileRecord(f"{n}", "UPSERT", record.lines, record.bytes, record.sha256)
        for n in range(arguments.files)
    ]
    memory = Memory()
    ways = {
        "bare": partial(copy, hashing=False),
        "hashing": partial(copy, hashing=True),
        "uploader": partial(ours, memory=memory),
    }
    total = record.bytes * len(files)
    rounds = []
    for number in range(arguments.rounds):
        seconds, processor = {}, {}
        with serving() as url:
            for turn in range(len(ways)):
                way = list(ways)[(number + turn) % len(ways)]
                begun, used = time.perf_counter(), time.process_time()
                ended = ways[way](url, folder, files, arguments.parallel)
                seconds[way] = ended - begun
                processor[way] = time.process_time() - used
        rounds.append(seconds)
        told = {
            way: f"{total / seconds[way] / 1e6:.0f} MB/s, {processor[way]:.1f} processor s"
            for way in ways
        }
        print(json.dumps({"round": number + 1, **told, **ratios([seconds])}), flush=True)
    rate = statistics.median(total / seconds["uploader"] for seconds in rounds)
    summary = {
        "gigabytes": total / 1e9,
        "files": len(files),
        "parallel": arguments.parallel,
        "mb_per_s": round(rate / 1e6),
        **ratios(rounds),
        **memory.told(),
    }
    print(json.dumps(summary))


def ratios(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The uploader's throughput as a part of each copy's, the median of the rounds."""
    return {
        f"of_{way}": round(statistics.median(s[way] / s["uploader"] for s in rounds), 3)
        for way in ("bare", "hashing")
    }


def write(folder: Path, size: int) -> FileRecord:
    """One file of about this size, repeated lines; all files of the upload are this one."""
    command = {
        "operation": "UPSERT", "compartment_id": "1", "user_account_id": "c1",
        "user_profile": {"$compartment_id": 1, "$user_account_id": "c1", "text": "x" * 350},
    }  # fmt: skip
    line = json.dumps(command).encode() + b"\n"
    block = line * (1 + CHUNK // len(line))
    blocks = max(1, size // len(block))
    digest = hashlib.sha256()
    with (folder / "file.ndjson").open("wb") as file:
        for _ in range(blocks):
            file.write(block)
            digest.update(block)
    lines = blocks * (len(block) // len(line))
    return FileRecord("file", "UPSERT", lines, blocks * len(block), digest.hexdigest())


class serving:  # noqa: N801  a context manager
    """The emulator as a process, its lines not applied and its store removed afterwards."""

    def __init__(self) -> None:
        # In memory where that can be had: disks are what varies most between two rounds.
        memory = Path("/dev/shm")
        self._store = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))

    def __enter__(self) -> str:
        command = [
            sys.executable, "-m", "spark_profiles.cli", "emulator", "--port", "0",
            "--store", str(self._store / "d.sqlite"), "--execution-seconds", "100000",
            "--switch", "upload_check=nothing",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._ending = threading.Event()
        self._emptying = threading.Thread(target=self._empty)
        self._emptying.start()
        found = re.search(r"http://[\d.:]+\d", self._process.stdout.readline())
        assert found
        return found[0]

    def _empty(self) -> None:
        """Bodies that were received whole are made empty, so that the disk is not what counts."""
        while not self._ending.wait(0.5):
            for path in self._store.glob("*.files/*.ndjson"):
                if path.stat().st_size:
                    os.truncate(path, 0)

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._emptying.join()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._store)


class Memory:
    """Resident memory of this process during uploads, read twice a second."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []

    def __enter__(self) -> None:
        self._ending = threading.Event()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        while not self._ending.wait(0.5):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.megabytes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._reading.join()

    def told(self) -> dict[str, float]:
        """The most, and the mean of the first and the last third."""
        third = max(1, len(self.megabytes) // 3)
        return {
            "peak_mb": round(max(self.megabytes), 1),
            "first_third_mb": round(statistics.mean(self.megabytes[:third]), 1),
            "last_third_mb": round(statistics.mean(self.megabytes[-third:]), 1),
        }


def copy(
    url: str, folder: Path, files: Sequence[FileRecord], parallel: int, *, hashing: bool
) -> float:
    """The same bodies by the same library in as many threads; returns when the last was taken."""
    with httpx.Client(base_url=url, headers={"Authorization": "api:any"}, timeout=120) as client:
        imports = "/v1/datamarts/1/document_imports"
        new = {"document_type": "USER_PROFILE", "mime_type": "APPLICATION_X_NDJSON"}
        number = client.post(imports, json=new).json()["data"]["id"]

        def parts() -> Iterator[bytes]:
            digest = hashlib.sha256()
            with (folder / "file.ndjson").open("rb") as stream:
                while chunk := stream.read(CHUNK):
                    if hashing:
                        digest.update(chunk)
                    yield chunk

        def send(file: FileRecord) -> None:
            headers = {"Content-Type": "application/x-ndjson", "Content-Length": str(file.bytes)}
            client.post(
                f"{imports}/{number}/executions", content=parts(), headers=headers
            ).raise_for_status()

        with ThreadPoolExecutor(parallel) as pool:
            list(pool.map(send, files))
    return time.perf_counter()


def ours(
    url: str, folder: Path, files: Sequence[FileRecord], parallel: int, *, memory: Memory
) -> float:
    """The uploader; returns when the answer to the last file came. The executions never end."""

    class SentError(Exception):
        """All files are executions."""

    class Journal:
        def record(self, files: Sequence[FileRecord], _: Sequence[RejectedLine] = ()) -> None:
            if all(file.status.value == "sent" for file in files):
                raise SentError

    answered = []

    def observe(exchange: Exchange) -> None:
        if exchange.method == "POST":
            answered.append(time.perf_counter())

    store = stores.folder(folder)
    connection = Connection(url, "1", Token.parse("env:BENCHMARK_TOKEN"))
    with (
        memory,
        Datamart(connection, parallel=parallel, observe=observe) as datamart,
        contextlib.suppress(SentError),
    ):
        upload.upload(
            files,
            datamart=datamart,
            open_file=lambda _: store.open("file.ndjson"),
            import_name="benchmark",
            journal=Journal(),
            settings=upload.Settings(record_every_s=0.5),
        )
    return answered[-1]


if __name__ == "__main__":
    main()

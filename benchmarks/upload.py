"""Uploads against the emulator: throughput beside a bare copy by the same library, and memory.

    python benchmarks/upload.py --gigabytes 1 --files 100

Each round sends the same files twice to the same server, a process of its own: bare, by httpx in
as many threads with the hash taken beside, and by the uploader. Figures are paired by round. The
server receives and keeps each body as always; lines are counted, not applied.
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
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from spark_profiles import upload
from spark_profiles.datamart import Connection, Datamart, Token
from spark_profiles.upload import FileRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spark_profiles.channel import Exchange
    from spark_profiles.upload import RejectedLine

CHUNK = 1 << 18


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["BENCHMARK_TOKEN"] = "api:any"  # noqa: S105
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
    ratios, rates = [], []
    memory = Memory()
    for number in range(arguments.rounds):
        ways = {"bare": bare, "uploader": ours}
        order = list(ways) if number % 2 else list(reversed(ways))
        seconds, processor = {}, {}
        for way in order:
            with serving(folder) as url:
                begun, used = time.perf_counter(), time.process_time()
                ended = ways[way](url, folder, files, arguments.parallel, memory)
                seconds[way] = ended - begun
                processor[way] = time.process_time() - used
        total = record.bytes * len(files)
        ratios.append(seconds["bare"] / seconds["uploader"])
        rates.append(total / seconds["uploader"] / 1e6)
        told = {
            way: f"{total / taken / 1e6:.0f} MB/s, {processor[way]:.1f} processor s"
            for way, taken in seconds.items()
        }
        print(json.dumps({"round": number + 1, **told, "ratio": round(ratios[-1], 3)}), flush=True)
    summary = {
        "gigabytes": record.bytes * len(files) / 1e9,
        "files": len(files),
        "parallel": arguments.parallel,
        "median_ratio": round(statistics.median(ratios), 3),
        "median_mb_per_s": round(statistics.median(rates)),
        **memory.told(),
    }
    print(json.dumps(summary))


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

    def __init__(self, folder: Path) -> None:
        self._store = folder / "store"

    def __enter__(self) -> str:
        self._store.mkdir()
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


def bare(
    url: str, folder: Path, files: Sequence[FileRecord], parallel: int, memory: Memory
) -> float:
    """The same bodies by the same library in as many threads, their hash taken beside."""
    del memory
    with httpx.Client(base_url=url, headers={"Authorization": "api:any"}, timeout=120) as client:
        imports = "/v1/datamarts/1/document_imports"
        new = {"document_type": "USER_PROFILE", "mime_type": "APPLICATION_X_NDJSON"}
        number = client.post(imports, json=new).json()["data"]["id"]

        def parts() -> Iterator[bytes]:
            digest = hashlib.sha256()
            with (folder / "file.ndjson").open("rb") as stream:
                while chunk := stream.read(CHUNK):
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
    url: str, folder: Path, files: Sequence[FileRecord], parallel: int, memory: Memory
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

    connection = Connection(url, "1", Token.parse("env:BENCHMARK_TOKEN"))
    with (
        memory,
        Datamart(connection, parallel=parallel, observe=observe) as datamart,
        contextlib.suppress(SentError),
    ):
        upload.upload(
            files,
            datamart=datamart,
            open_file=lambda _: (folder / "file.ndjson").open("rb"),
            import_name="benchmark",
            journal=Journal(),
            settings=upload.Settings(record_every_s=0.5),
        )
    return answered[-1]


if __name__ == "__main__":
    main()

"""Whole runs against the emulator: what is sent, confirmed, repeated, stopped and settled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import pytest
import shop

from spark_profiles import run
from spark_profiles.datamart import Connection, Datamart, RetryPolicy, Token
from spark_profiles.emulator import server
from spark_profiles.errors import GuardError, UnavailableError, UnconfirmedError, UnsettledError
from spark_profiles.states import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.audit import Run
    from spark_profiles.emulator.server import Emulator

PEOPLE = [{"customer_id": f"c{n}", "first_name": f"Name {n}"} for n in range(8)]


class Shop:
    """A job over changing customers, and the emulated platform it delivers to."""

    def __init__(self, spark: SparkSession, folder: Path, emulator: Emulator) -> None:
        self.spark, self.emulator = spark, emulator
        self.job = run.Job(
            spark=spark,
            output=str(folder / "import"),
            audit=str(folder / "audit"),
            max_bytes=1_500,  # two files of a few lines
        )
        connection = Connection(emulator.url, "1500", Token.parse(f"file:{folder / 'token'}"))
        retry = RetryPolicy(attempts=2, first_wait_s=0.01)
        self.datamart = Datamart(connection, retry=retry, sleep=lambda _: None)

    def tables(self, people: list[dict[str, Any]]) -> dict[str, DataFrame]:
        return {
            "customers": shop.customers(self.spark, *people).limit(len(people)),
            "purchases": shop.purchases(self.spark, {}),
        }

    def run(self, people: list[dict[str, Any]], **options: Any) -> Run:
        definition = options.pop("definition", shop.definition())
        return run.run(
            self.job, definition, self.datamart, as_of=shop.AS_OF, tables=self.tables(people),
            **options,
        )  # fmt: skip

    def build(self, people: list[dict[str, Any]], **options: Any) -> Run:
        return run.build(
            self.job, shop.definition(), as_of=shop.AS_OF, tables=self.tables(people), **options
        )

    def names(self) -> dict[str, str]:
        """What the platform holds: account -> first name."""
        return {
            account: profile["firstname"] for _, account, profile in self.emulator.store.profiles()
        }

    def table(self, name: str) -> list[dict[str, Any]]:
        """An audit table, read by another reader of Delta than the one that wrote it."""
        table = deltalake.DeltaTable(f"{self.job.audit}/{name}")
        return table.to_pyarrow_table().to_pylist()


@pytest.fixture
def a_shop(spark: SparkSession, tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "token").write_text("api:secret")
    with server.running(tmp_path / "datamart.sqlite", token="api:secret") as emulator:
        yield Shop(spark, tmp_path, emulator)


def names(people: list[dict[str, Any]]) -> dict[str, str]:
    return {person["customer_id"]: person["first_name"] for person in people}


def test_two_days_an_empty_source_and_a_repetition(a_shop: Shop) -> None:
    first = a_shop.run(PEOPLE)
    assert a_shop.names() == names(PEOPLE)
    assert (first.status, first.new, first.lines, first.confirmed) == (
        RunStatus.CONFIRMED, 8, 8, 8,
    )  # fmt: skip

    second_day = [
        *PEOPLE[1:7],
        {**PEOPLE[7], "first_name": "Eve"},
        {"customer_id": "c9", "first_name": "Neo"},
    ]
    with pytest.raises(GuardError) as empty:  # an export that came without its keys
        a_shop.run([{"customer_id": None}])
    assert empty.value.exit_code == 6
    assert [problem.where for problem in empty.value.problems] == [
        "deletes",
        "refused:customers",
        "shrunken:customers",
    ]
    assert a_shop.names() == names(PEOPLE)

    with pytest.raises(GuardError, match="1 of 8 delivered profiles"):  # 12 % of eight people
        a_shop.run(second_day)
    second = a_shop.run(second_day, accepted=["deletes"])
    assert a_shop.names() == names(second_day)
    assert (second.new, second.changed, second.same, second.gone) == (1, 1, 6, 1)

    executions = len(a_shop.emulator.store.executions())
    third = a_shop.run(second_day)
    assert (third.lines, third.files, third.status) == (0, 0, RunStatus.CONFIRMED)
    assert len(a_shop.emulator.store.executions()) == executions

    runs = {row["run_id"]: row for row in a_shop.table("runs")}
    assert [row["status"] for row in sorted(runs.values(), key=lambda r: r["started_at"])] == [
        "confirmed", "abandoned", "abandoned", "confirmed", "confirmed",
    ]  # fmt: skip
    for row in runs.values():
        for count in row["counts"]:
            parts = [count[k] for k in ("used", "refused", "duplicate", "orphan", "after_as_of")]
            assert sum(parts) == count["rows"]
    delivered = {
        row["profile_key"]: json.loads(row["payload"]) for row in a_shop.table("delivered")
    }
    held = {account: profile for _, account, profile in a_shop.emulator.store.profiles()}
    assert delivered == held


def bodies(built: Run) -> dict[str, bytes]:
    folder = Path(built.output)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.ndjson")}


def test_built_files_are_as_listed_repeatable_and_sent_once(a_shop: Shop) -> None:
    first = a_shop.build(PEOPLE)
    written = bodies(first)
    manifest = json.loads((Path(first.output) / "manifest.json").read_text())
    assert {file["path"] for file in manifest["files"]} == written.keys()
    assert len(written) > 1
    seen = []
    for file in manifest["files"]:
        body = written[file["path"]]
        assert len(body) == file["bytes"] <= 1_500
        assert body.count(b"\n") == file["lines"]
        assert body.endswith(b"\n")
        assert hashlib.sha256(body).hexdigest() == file["sha256"]
        keys = [json.loads(line)["user_account_id"] for line in body.splitlines()]
        assert keys == sorted(keys)
        seen += keys
    assert sorted(seen) == sorted(names(PEOPLE))

    second = a_shop.build(PEOPLE[::-1])  # the same rows in another order
    assert bodies(second) == written
    assert not Path(first.output).exists(), "what was not sent is given up"
    done = run.deliver(a_shop.job, "shop", a_shop.datamart)
    assert done is not None
    assert (done.run_id, done.confirmed) == (second.run_id, 8)
    assert run.deliver(a_shop.job, "shop", a_shop.datamart) is None
    assert a_shop.names() == names(PEOPLE)


def test_a_run_that_may_have_been_sent_is_settled_first(a_shop: Shop) -> None:
    a_shop.emulator.faults.fail_requests = 0
    a_shop.emulator.faults.lose_answers = 1
    listing = a_shop.datamart.executions
    a_shop.datamart.executions = _unavailable  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        a_shop.run(PEOPLE)
    a_shop.datamart.executions = listing  # type: ignore[method-assign]
    with pytest.raises(UnsettledError):
        a_shop.build(PEOPLE)

    changed = [{**PEOPLE[0], "first_name": "Eve"}, *PEOPLE[1:]]
    done = a_shop.run(changed)
    assert a_shop.names() == names(changed)
    assert (done.changed, done.same) == (1, 7)
    first = [r["attempts"] for r in a_shop.table("files") if r["run_id"] != done.run_id]
    assert set(first) == {1}  # nothing was sent twice


def _unavailable(import_id: str) -> Any:
    message = "down"
    raise UnavailableError(message)


def test_what_was_not_confirmed_is_sent_again_by_itself(a_shop: Shop) -> None:
    a_shop.emulator.faults.fail_executions = 1
    a_shop.emulator.faults.rejects = lambda command: command["user_account_id"] == "c5"
    with pytest.raises(UnconfirmedError) as caught:
        a_shop.run(PEOPLE)
    assert caught.value.exit_code == 9
    assert a_shop.table("rejected_lines")
    assert len(a_shop.table("delivered")) < len(PEOPLE)
    a_shop.emulator.faults.rejects = lambda _: False
    done = a_shop.run(PEOPLE)
    assert done.status is RunStatus.CONFIRMED
    assert a_shop.names() == names(PEOPLE)
    assert len(a_shop.table("delivered")) == len(PEOPLE)

"""Whole runs against the emulator: what is sent, confirmed, repeated, stopped and settled."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import pytest
import shop

from spark_profiles.audit import leases
from spark_profiles.audit.delta_rs import DeltaTables
from spark_profiles.audit.guard import Acceptance, Limits
from spark_profiles.audit.states import RunStatus
from spark_profiles.delivery import courier, upload
from spark_profiles.delivery.datamart import Connection, Datamart, RetryPolicy, Token
from spark_profiles.emulator import server
from spark_profiles.engine import session
from spark_profiles.errors import (
    GuardError,
    SourceError,
    UnavailableError,
    UnconfirmedError,
    UnsettledError,
)
from spark_profiles.lines.changes import Policy
from spark_profiles.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.audit.runs import Run
    from spark_profiles.emulator.server import Emulator

PEOPLE = [{"customer_id": f"c{n}", "first_name": f"Name {n}"} for n in range(8)]


class Shop:
    """A job over changing customers, and the emulated platform it delivers to."""

    def __init__(self, spark: SparkSession, folder: Path, emulator: Emulator) -> None:
        self.spark, self.emulator, self.folder = spark, emulator, folder
        self.exports = 0
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
        """The day's export, as files."""
        self.exports += 1
        tables = {
            "customers": shop.customers(self.spark, *people),
            "purchases": shop.purchases(self.spark, {}),
        }
        for name, rows in tables.items():
            place = str(self.folder / f"raw{self.exports}" / name)
            rows.write.parquet(place)
            tables[name] = self.spark.read.parquet(place)
        return tables

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


@pytest.mark.at_hand
def test_two_days(a_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first by records at hand; the second by the engine's, in the tables of the first."""
    first = a_shop.run(PEOPLE)
    assert a_shop.names() == names(PEOPLE)
    assert (first.status, first.new, first.lines, first.confirmed) == (
        RunStatus.CONFIRMED, 8, 8, 8,
    )  # fmt: skip

    monkeypatch.setattr(session, "is_at_hand", lambda *_: False)
    second_day = [
        *PEOPLE[1:7],
        {**PEOPLE[7], "first_name": "Eve"},
        {"customer_id": "c9", "first_name": "Neo"},
    ]
    second = a_shop.run(second_day, accepted=Acceptance(("deletes",), "ops", "a small shop"))
    assert a_shop.names() == names(second_day)
    assert (second.new, second.changed, second.same, second.gone) == (1, 1, 6, 1)

    runs = a_shop.table("runs")
    assert [row["status"] for row in runs] == ["confirmed", "confirmed"]
    for row in runs:
        for count in row["counts"]:
            parts = [count[k] for k in ("used", "refused", "duplicate", "orphan", "after_as_of")]
            assert sum(parts) == count["rows"]
    delivered = {
        row["profile_key"]: json.loads(row["payload"]) for row in a_shop.table("delivered")
    }
    held = {account: profile for _, account, profile in a_shop.emulator.store.profiles()}
    assert delivered == held


@pytest.mark.jvm
@pytest.mark.at_hand
def test_records_at_hand_and_by_spark_are_the_same_tables(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables that one way made, and a run that it left open, are taken on by the other."""
    monkeypatch.setattr(session, "is_at_hand", lambda *_: False)
    a_shop.emulator.faults.lose_answers = 1
    monkeypatch.setattr(a_shop.datamart, "executions", _unavailable)
    with pytest.raises(UnavailableError):
        a_shop.run(PEOPLE)
    by_spark = a_shop.job.tables().runs("shop")
    monkeypatch.undo()
    assert a_shop.job.tables().runs("shop") == by_spark
    changed = [{**PEOPLE[0], "first_name": "Eve"}, *PEOPLE[1:]]
    at_hand = a_shop.run(changed)
    assert (at_hand.changed, at_hand.same) == (1, 7)
    assert a_shop.names() == names(changed)
    engines = {
        json.loads(line)["commitInfo"].get("engineInfo", "").split("/")[0]
        for log in (a_shop.folder / "audit" / "runs" / "_delta_log").glob("*.json")
        for line in log.read_text().splitlines()
        if "commitInfo" in line
    }
    assert {name.partition(":")[0] for name in engines} == {"delta-rs", "Apache-Spark"}


@pytest.mark.jvm
@pytest.mark.at_hand
def test_tables_are_at_hand_on_the_own_disk_only(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = str(tmp_path / "not" / "there")
    assert all(session.is_at_hand(spark, place) for place in (here, f"file:{here}"))
    others = ("main.audit", "s3://lake/audit", "dbfs:/audit", f"{here}/a%20b")
    assert not any(session.is_at_hand(spark, place) for place in others)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", _refused)
        assert not session.is_at_hand(spark, here)
    with monkeypatch.context() as patch:
        patch.setattr(session.metadata, "version", lambda _: "1.0.2")
        assert not session.is_at_hand(spark, here)
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    assert not session.is_at_hand(spark, here)
    assert list(tmp_path.iterdir()) == []


def _refused(*_: Any) -> None:
    raise PermissionError


@pytest.mark.sail
def test_what_was_stopped_is_accepted_and_a_repetition_sends_nothing(a_shop: Shop) -> None:
    a_shop.run(PEOPLE)
    with pytest.raises(GuardError, match="1 of 8 delivered profiles"):  # 12 % of eight people
        a_shop.run(PEOPLE[1:])
    a_shop.run(PEOPLE[1:], accepted=Acceptance(("deletes",), "ops", "a small shop"))
    executions = len(a_shop.emulator.store.executions())
    again = a_shop.run(PEOPLE[1:])
    assert (again.lines, again.files, again.status) == (0, 0, RunStatus.CONFIRMED)
    assert len(a_shop.emulator.store.executions()) == executions
    runs = sorted(a_shop.table("runs"), key=lambda row: row["started_at"])
    assert [row["status"] for row in runs] == ["confirmed", "abandoned", "confirmed", "confirmed"]


@pytest.mark.sail
def test_an_export_without_its_keys_deletes_nobody(a_shop: Shop) -> None:
    a_shop.run(PEOPLE)
    with pytest.raises(GuardError) as empty:
        a_shop.run([{"customer_id": None}])
    assert empty.value.exit_code == 6
    assert [problem.where for problem in empty.value.problems] == [
        "deletes",
        "refused:customers",
        "shrunken:customers",
    ]
    assert a_shop.names() == names(PEOPLE)


def bodies(built: Run) -> dict[str, bytes]:
    folder = Path(built.output)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.ndjson")}


@pytest.mark.sail
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


@pytest.mark.sail
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


@pytest.mark.sail
def test_what_was_not_confirmed_is_sent_again_by_itself(a_shop: Shop) -> None:
    a_shop.emulator.faults.fail_executions = 1
    a_shop.emulator.faults.rejects = bool  # every line
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


@pytest.mark.sail
def test_a_rejected_line_is_named_the_others_of_its_file_are_confirmed(a_shop: Shop) -> None:
    a_shop.emulator.faults.rejects = lambda command: command["user_account_id"] == "c5"
    with pytest.raises(UnconfirmedError):
        a_shop.run(PEOPLE)
    assert {row["profile_key"] for row in a_shop.table("delivered")} == names(PEOPLE).keys() - {
        "c5"
    }
    (line,) = a_shop.table("rejected_lines")
    assert line["profile_key"] == "c5"
    assert "rejected on demand" in line["message"]
    assert json.loads(line["payload"])["firstname"] == "Name 5"

    for _ in range(2):  # it is tried again, but not for ever
        with pytest.raises(UnconfirmedError):
            a_shop.run(PEOPLE)
    fourth = a_shop.run(PEOPLE)
    assert (fourth.status, fourth.lines, fourth.held) == (RunStatus.CONFIRMED, 0, 1)
    eve = [*PEOPLE[:5], {"customer_id": "c5", "first_name": "Eve"}, *PEOPLE[6:]]
    with pytest.raises(UnconfirmedError):  # another payload is another matter
        a_shop.run(eve)
    a_shop.emulator.faults.rejects = lambda _: False
    assert a_shop.run(PEOPLE, resend=["c5"]).confirmed == 1
    assert a_shop.names() == names(PEOPLE)


@pytest.mark.sail
def test_who_is_gone_is_deleted_after_the_days_of_grace(a_shop: Shop) -> None:
    patient = replace(a_shop.job, policy=Policy(keep_gone_days=2))

    def on(day: str, people: list[dict[str, Any]]) -> Run:
        return run.run(
            patient, shop.definition(), a_shop.datamart, as_of=day, tables=a_shop.tables(people),
            accepted=Acceptance(("deletes",)),
        )  # fmt: skip

    on("2026-03-29", PEOPLE)
    first = on("2026-03-30", PEOPLE[1:])
    assert (first.lines, first.kept, first.gone) == (0, 1, 0)
    second = on("2026-03-31", PEOPLE[2:])
    assert (second.lines, second.kept, second.gone) == (0, 2, 0)
    third = on("2026-04-01", PEOPLE[2:])
    assert (third.lines, third.kept, third.gone) == (1, 1, 1)
    assert a_shop.names() == names(PEOPLE[1:])
    back = on("2026-04-02", PEOPLE[1:])
    assert (back.lines, back.kept, back.same) == (0, 0, 7)


@pytest.mark.sail
def test_who_is_refused_is_not_deleted_and_all_is_recorded(a_shop: Shop) -> None:
    """What a run says of refused users, of rules that warn, of consents, and when it was."""
    definition = shop.definition(
        **{
            "latest_by: [updated_at desc, row_id desc]": "latest_by: [updated_at desc, row_id desc]"
            "\n    accept: {has_mail: {condition: email is not null, severity: warn}}",
            "users: customers": "users: customers\nconsents: {mail: {value: row_id > 1}}",
            "contact: {": "contact: {purpose: mail, ",
        }
    )
    a_shop.job = replace(a_shop.job, limits=Limits(late_days=9))  # compares instants of two runs
    willing = [{**PEOPLE[0], "row_id": 2}, {**PEOPLE[1], "row_id": None}, *PEOPLE[2:]]
    first = a_shop.run(willing, definition=definition)
    assert [vars(count) for count in first.consents] == [
        {"purpose": "mail", "granted": 1, "refused": 6, "unknown": 1}
    ]
    assert [account for _, account, p in a_shop.emulator.store.profiles() if "contact" in p] == [
        "c0"
    ]

    second_day = [
        {**PEOPLE[0], "email": None},  # took the consent back
        {**PEOPLE[1], "updated_at": None},  # refused
        {**PEOPLE[2], "updated_at": shop.at(shop.AS_OF)},  # late
        {**PEOPLE[3], "email": None},
        *PEOPLE[4:],
    ]
    second = a_shop.run(second_day, definition=definition)
    assert (second.unusable, second.gone, second.changed, second.same) == (2, 0, 1, 5)
    assert (second.profiles, second.lines) == (6, 1)
    assert [vars(count) for count in second.warnings] == [
        {"source": "customers", "rule": "has_mail", "rows": 2}
    ]
    assert a_shop.names() == names(PEOPLE)
    assert not [p for _, _, p in a_shop.emulator.store.profiles() if "contact" in p]
    unusable = {r["profile_key"]: r for r in a_shop.table("lines") if r["change"] == "unusable"}
    assert unusable.keys() == {"c1", "c2"}
    assert {row["operation"] for row in unusable.values()} == {None}

    read = a_shop.job.tables().runs("shop")[-1]
    assert (read.unusable, read.warnings) == (2, second.warnings)
    assert read.as_of == shop.at(shop.AS_OF)  # aware, in UTC
    assert read.started_at == second.started_at
    assert read.counts == second.counts
    assert read.counts[0].newest == shop.at("2026-01-01")

    # A list of keys, which asks for it, deletes them all the same.
    third = a_shop.run(second_day, definition=definition, remove=["c1"],
                       accepted=Acceptance(("deletes",)))  # fmt: skip
    assert (third.unusable, third.gone) == (1, 1)
    assert a_shop.names() == names([PEOPLE[0], *PEOPLE[2:]])


@pytest.mark.large
@pytest.mark.sail
def test_one_of_a_hundred_is_deleted_sixty_are_not(a_shop: Shop) -> None:
    """And sources that fail delete nobody; those that are empty or cut off: see `histories`."""
    crowd = [{"customer_id": f"c{n:02d}", "first_name": f"Name {n}"} for n in range(100)]
    a_shop.run(crowd)
    done = a_shop.run(crowd[1:])
    assert (done.gone, done.status) == (1, RunStatus.CONFIRMED)
    executions = len(a_shop.emulator.store.executions())
    with pytest.raises(GuardError) as caught:
        a_shop.run(crowd[61:])
    assert [problem.where for problem in caught.value.problems] == ["deletes", "shrunken:customers"]
    late = a_shop.run([{**one, "updated_at": shop.at("2026-04-02")} for one in crowd[1:]])
    assert (late.lines, late.unusable) == (0, 99)
    with pytest.raises(SourceError):
        run.run(a_shop.job, shop.definition(), a_shop.datamart, as_of=shop.AS_OF,
                data=str(a_shop.folder))  # fmt: skip
    assert a_shop.names() == names(crowd[1:])
    assert len(a_shop.emulator.store.executions()) == executions


@pytest.mark.sail
def test_a_list_of_keys_is_deleted_although_the_users_are_there(a_shop: Shop) -> None:
    a_shop.run(PEOPLE)
    done = a_shop.run(PEOPLE, remove=["c1", "nobody"], accepted=Acceptance(("deletes",)))
    assert (done.gone, done.same) == (1, 7)
    assert a_shop.names() == names([PEOPLE[0], *PEOPLE[2:]])


@pytest.mark.sail
def test_abandon_frees_what_was_not_sent(a_shop: Shop) -> None:
    built = a_shop.build(PEOPLE)
    assert [given.run_id for given in run.abandon(a_shop.job, "shop")] == [built.run_id]
    assert not Path(built.output).exists()
    assert run.deliver(a_shop.job, "shop", a_shop.datamart) is None


@pytest.mark.sail
def test_retry_sends_the_failed_files_of_the_last_run(a_shop: Shop) -> None:
    a_shop.emulator.faults.fail_executions = 1
    with pytest.raises(UnconfirmedError):
        a_shop.run(PEOPLE)
    done = run.retry(a_shop.job, "shop", a_shop.datamart)
    assert done is not None
    assert (done.status, done.confirmed) == (RunStatus.CONFIRMED, 8)
    assert a_shop.names() == names(PEOPLE)
    assert run.retry(a_shop.job, "shop", a_shop.datamart) is None


@pytest.mark.sail
def test_a_second_run_meets_the_lease_of_the_first(a_shop: Shop) -> None:
    audit = a_shop.job.tables()
    with leases.held(audit, "shop", now=a_shop.job.now):
        with pytest.raises(UnsettledError, match="at work") as caught:
            a_shop.run(PEOPLE)
        assert caught.value.exit_code == 10
        with leases.held(audit, "other", now=a_shop.job.now):
            pass
        mine = leases.holder(audit, "shop")
        assert mine
        for word in (None, mine.process):  # we see that it lives, whatever anybody says
            with pytest.raises(UnsettledError, match="at work"):
                run.abandon(a_shop.job, "shop", dead=word)
        assert leases.holder(audit, "shop") == mine
    assert a_shop.run(PEOPLE).status is RunStatus.CONFIRMED


@pytest.mark.sail
@pytest.mark.skipif(not Path("/proc/self/ns/pid").is_symlink(), reason="only time ends a lease")
def test_the_lease_of_a_dead_process_is_taken_over(a_shop: Shop) -> None:
    audit = a_shop.job.tables()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    host, _, machine, *_ = leases.owner().split(":")
    until = a_shop.job.now() + leases.LENGTH
    owner = f"{host}:{dead.stdout.strip()}:{machine}:1:x"
    audit.merge_lease("shop", owner, until=until, take_from=None)
    assert a_shop.run(PEOPLE).status is RunStatus.CONFIRMED
    audit.merge_lease("shop", "elsewhere:1:x", until=until,
                      take_from=leases.holder(audit, "shop").owner)  # type: ignore[union-attr]  # fmt: skip
    with pytest.raises(UnsettledError, match="abandon shop --dead elsewhere:1"):
        a_shop.run(PEOPLE)
    for word in (None, "elsewhere:2"):  # as far as can be seen from here it lives
        with pytest.raises(UnsettledError) as caught:
            run.abandon(a_shop.job, "shop", dead=word)
        assert caught.value.exit_code == 10
    run.abandon(a_shop.job, "shop", dead="elsewhere:1")
    assert a_shop.run(PEOPLE).status is RunStatus.CONFIRMED


@pytest.mark.sail
def test_files_sent_without_spark_are_settled_by_the_next_run(a_shop: Shop) -> None:
    """The same tables, by another writer: delta-rs sends, this engine merges and asks nothing."""
    built = a_shop.build(PEOPLE)
    tables = DeltaTables(a_shop.job.audit)
    found = courier.waiting(tables, built.name)
    assert found
    ended = courier.deliver(
        tables,
        found,
        a_shop.datamart,
        settings=upload.Settings(poll_every_s=0.02),
        now=a_shop.job.now,
    )
    assert {file.status.value for file in ended} == {"confirmed"}
    assert a_shop.names() == names(PEOPLE)
    assert a_shop.table("delivered") == []
    (recorded,) = a_shop.table("runs")
    assert recorded["status"] == "uploading"
    asked = len(a_shop.emulator.store.executions())
    done = run.deliver(a_shop.job, built.name, a_shop.datamart)
    assert done
    assert done.status is RunStatus.CONFIRMED
    assert len(a_shop.table("delivered")) == len(PEOPLE)
    assert len(a_shop.emulator.store.executions()) == asked
    again = a_shop.run(PEOPLE)
    assert (again.lines, again.same) == (0, len(PEOPLE))

"""What was sent about a person, where, why, and what the platform answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import shop
from test_run import PEOPLE, Shop

from spark_profiles.aftercare import explain, why
from spark_profiles.audit import views
from spark_profiles.audit.guard import Acceptance
from spark_profiles.emulator import server
from spark_profiles.errors import DefinitionError, UnconfirmedError
from spark_profiles.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

pytestmark = pytest.mark.sail

C3 = {"customer_id": "c3"}
BOUGHT = [
    {"purchase_id": 1, **C3, "purchased_at": shop.at("2026-03-20"), "amount": "5.00"},
    {"purchase_id": 2, **C3, "purchased_at": shop.at("2026-01-02"), "amount": "7.00"},
    {"purchase_id": 3, **C3, "purchased_at": shop.at("2026-04-02"), "amount": "9.00"},
    {"purchase_id": 4, "customer_id": "c3", "amount": "ten"},
    {"purchase_id": 5, "customer_id": "c4", "amount": "1.00"},
    {"purchase_id": 6, "customer_id": "c4", "amount": "two"},
]  # fmt: skip


@pytest.fixture
def a_shop(spark: SparkSession, tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "token").write_text("api:secret")
    with server.running(tmp_path / "datamart.sqlite", token="api:secret") as emulator:
        yield Shop(spark, tmp_path, emulator)


def tables(a_shop: Shop, people: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "customers": shop.customers(a_shop.spark, *people),
        "purchases": shop.purchases(a_shop.spark, *BOUGHT),
    }


def test_the_whole_story_of_one_person(a_shop: Shop) -> None:  # noqa: PLR0915  one story
    accepted = Acceptance(("refused:purchases",), why="a test")

    def send(people: list[dict[str, Any]]) -> Any:
        return run.run(
            a_shop.job, shop.definition(), a_shop.datamart, as_of=shop.AS_OF,
            tables=tables(a_shop, people), accepted=accepted,
        )  # fmt: skip

    first = send(PEOPLE)
    a_shop.emulator.faults.rejects = lambda command: command["user_account_id"] == "c3"
    renamed = [{**p, "first_name": "Eve"} if p["customer_id"] == "c3" else p for p in PEOPLE]
    with pytest.raises(UnconfirmedError):
        send(renamed)
    a_shop.emulator.faults.rejects = lambda _: False
    audit = a_shop.job.tables()

    (account,) = explain.explain(audit, "c3")
    sent, rejected = account.events
    assert (sent.run_id, sent.change, sent.answer) == (first.run_id, "new", "confirmed")
    assert (rejected.change, rejected.properties, rejected.answer) == (
        "changed", ("firstname",), "rejected",
    )  # fmt: skip
    for event, made in ((sent, first), (rejected, audit.runs("shop")[-1])):
        with a_shop.job.folder(made).open(str(event.file)) as stream:
            line = stream.read().splitlines()[(event.line or 0) - 1]
        assert json.loads(line)["user_profile"] == json.loads(str(event.payload))
    assert account.refused[0][1:] == ("purchases", ("amount_not_decimal(10,2)",))
    assert json.loads(str(account.delivered))["firstname"] == "Name 3"

    told = explain.told(account, "firstname", show_values=True)
    assert [event["value"] for event in told["events"]] == ["Name 3", "Eve"]
    secret = json.dumps(explain.told(account))
    assert not any(value in secret for value in ("Name 3", "Eve", '"c3"'))
    assert explain.told(account, run_id=first.run_id)["events"][0]["answer"] == "confirmed"
    with pytest.raises(DefinitionError, match="nobody of that name") as unknown:
        explain.explain(audit, "ada@private.example")
    assert "ada@" not in str(unknown.value)

    failed = {tuple(row)[1:] for row in views.failures(audit, "shop").collect()}
    assert ("refused row", "purchases", "amount_not_decimal(10,2)", 2) in failed
    assert ("tripped limit", None, "refused:purchases", 1) in failed
    assert {reason for what, _, reason, _ in failed if what == "rejected line"} == {
        "see rejected_lines"
    }
    said = views.failures(audit, "shop", with_messages=True).where("what = 'rejected line'")
    assert all("rejected on demand" in row["reason"] for row in said.collect())
    latest = {row["profile_key"]: row["run_id"] for row in views.latest(audit, "shop").collect()}
    assert latest == {person["customer_id"]: first.run_id for person in PEOPLE}
    lines = views.history(audit, "shop").where("profile_key = 'c3'").orderBy("run_number")
    assert [row["is_confirmed"] for row in lines.collect()] == [True, False]

    given = tables(a_shop, PEOPLE)
    reason = why.why(a_shop.spark, first, "c3", "purchases.amount", data=".", tables=given)
    computed = json.loads(str(reason.computed))
    assert computed == json.loads(str(sent.payload))
    assert computed["purchases"]["amount"] == {"30d": 5, "lifetime": 12}
    rows = {json.loads(row["row"])["purchase_id"]: row for row in reason.rows}
    assert {n: (row["status"], row["windows"]) for n, row in rows.items() if n != 4} == {
        1: ("accepted", ["30d", "lifetime"]),
        2: ("accepted", ["lifetime"]),
        3: ("after_as_of", []),
    }
    assert rows[4]["reasons"] == ["amount_not_decimal(10,2)"]
    assert reason.windows["30d"] == ("2026-03-01T00:00:00+00:00", "2026-03-31T00:00:00+00:00")
    assert "5.00" not in json.dumps(why.told(reason))
    (own,) = why.why(a_shop.spark, first, "c3", "firstname", data=".", tables=given).rows
    assert (own["source"], json.loads(own["row"])["first_name"]) == ("customers", "Name 3")
    with pytest.raises(DefinitionError, match="no such property"):
        why.why(a_shop.spark, first, "c3", "nothing", data=".", tables=given)

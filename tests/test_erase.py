"""After an erasure nobody finds the person: not in a table, a log, a kept file or the platform."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import shop
from test_run import Shop

from spark_profiles import stores
from spark_profiles.aftercare import erase, kept, mentions, persons, receipts
from spark_profiles.audit.guard import Acceptance
from spark_profiles.emulator import server
from spark_profiles.errors import DefinitionError, UnconfirmedError
from spark_profiles.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

pytestmark = pytest.mark.sail

OTHERS = [
    {"customer_id": f"c{n}", "first_name": f"Name {n}", "email": f"n{n}@x.fr"} for n in range(7)
]
ZOE = {"customer_id": "cz77x", "first_name": "Zoëlle", "email": "Zoe.Q@private.example"}
# All that names her, in any form that was sent or kept.
VALUES = ("cz77x", "Zoëlle", "zoe.q@private.example")


@pytest.fixture
def a_shop(spark: SparkSession, tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "token").write_text("api:secret")
    with server.running(tmp_path / "datamart.sqlite", token="api:secret") as emulator:
        yield Shop(spark, tmp_path, emulator)


def stored_text(path: Path) -> str:
    """Everything that a file says: its bytes, and what its pages say when they are unpacked."""
    content = path.read_bytes()
    text = content.decode("utf-8", errors="replace")
    if path.suffix == ".parquet":
        table = pq.read_table(io.BytesIO(content))
        text += json.dumps(table.to_pylist(), default=str, ensure_ascii=False)
        text += str(pq.read_metadata(io.BytesIO(content)).to_dict())
    return text.lower()


def found(folder: str, values: tuple[str, ...] = VALUES) -> set[tuple[str, str]]:
    """Which of the values stand in which kind of file under the folder."""
    return {
        (value, str(path.relative_to(folder)))
        for path in Path(folder).rglob("*")
        if path.is_file()
        for value in values
        if value.lower() in stored_text(path)
    }


def run_with_dirt(a_shop: Shop, people: list[dict[str, Any]], **options: Any) -> Any:
    """A run over these people, with refused rows about some of them."""
    rows = [
        {"purchase_id": 1, "customer_id": "c1"},
        {"purchase_id": 2, "customer_id": " cz77x ", "amount": "ten"},
        {"purchase_id": 3, "customer_id": "c1", "amount": "a gift for CZ77X"},
        {"purchase_id": 4, "customer_id": "c1", "amount": "cz77"},
    ]
    customers = [
        *people,
        {"customer_id": None, "email": "zoe.q@PRIVATE.example"},
        {"customer_id": None, "email": "zoe.q2@private.example", "first_name": "Other"},
    ]
    tables = {
        "customers": shop.customers(a_shop.spark, *customers),
        "purchases": shop.purchases(a_shop.spark, *rows),
    }
    names = ("refused:customers", "refused:purchases", "deletes")
    accepted = Acceptance(names, why="a test")
    return run.run(
        a_shop.job, options.pop("definition", shop.definition()), a_shop.datamart,
        as_of=shop.AS_OF, tables=tables, accepted=accepted,
    )  # fmt: skip


def others(a_shop: Shop) -> dict[str, Any]:
    """What the tables hold of others, counted and shown."""
    lines = [r for r in a_shop.table("lines") if r["profile_key"] != "cz77x"]
    return {
        "delivered": sorted(
            r["payload"] for r in a_shop.table("delivered") if r["profile_key"] != "cz77x"
        ),
        "lines": sorted((r["run_id"], r["payload"]) for r in lines),
        "refused": sorted(
            r["row"] for r in a_shop.table("refused_rows") if r["row"] and "gift" not in r["row"]
            and ("Other" in r["row"] or '"c1"' in r["row"])
        ),
    }  # fmt: skip


def test_nothing_of_the_person_is_left_and_all_of_the_others(  # noqa: PLR0915
    a_shop: Shop,
) -> None:
    run_with_dirt(a_shop, [*OTHERS, ZOE])
    a_shop.emulator.faults.rejects = lambda command: command["user_account_id"] == "cz77x"
    with pytest.raises(UnconfirmedError):
        run_with_dirt(a_shop, [*OTHERS, {**ZOE, "first_name": "Zoëlle Q"}])
    a_shop.emulator.faults.rejects = lambda _: False
    assert {value for value, _ in found(a_shop.job.audit)} == set(VALUES), "the search finds her"
    assert {value for value, _ in found(a_shop.job.output)} == set(VALUES)
    before, held = others(a_shop), a_shop.names()
    refused = len(a_shop.table("refused_rows"))
    assert "cz77x" in held

    document: list[bytes] = []
    (receipt,) = erase.erase(
        a_shop.job, ["cz77x"], a_shop.datamart, vacuum_now=True, document=document.append
    )

    assert found(a_shop.job.audit) == set()
    assert found(a_shop.job.output) == set()
    assert a_shop.names() == {key: name for key, name in held.items() if key != "cz77x"}
    after = others(a_shop)
    assert after == before
    assert after["refused"], "a row that looks like hers is another's"
    assert len(a_shop.table("refused_rows")) == refused, "that rows were refused stays on record"
    assert json.loads(document[0]) == {
        "type": "USER_ACCOUNT", "compartment_id": "1606", "user_account_id": "cz77x",
    }  # fmt: skip
    assert (receipt["profiles"], receipt["delivered"], receipt["deletes_confirmed"]) == (1, 1, 1)
    assert (receipt["lines"], receipt["refused_rows"]) == (2, 6)
    assert receipt["vacuumed_at"]
    assert not any(value.lower() in json.dumps(receipt).lower() for value in VALUES)
    assert receipts.Hasher(receipt["salt"]).hash(" cz77x ") == receipt["hashes"][0]

    for made in a_shop.table("runs"):
        manifest = Path(made["output"]) / "manifest.json"
        listed = json.loads(manifest.read_text())["files"] if manifest.exists() else []
        for file in listed:
            body = (Path(made["output"]) / file["path"]).read_bytes()
            now = (body.count(b"\n"), len(body), hashlib.sha256(body).hexdigest())
            assert now == (file["lines"], file["bytes"], file["sha256"])

    # The tables still do their work: nothing is left to send, and she is new if a source has her.
    assert run_with_dirt(a_shop, OTHERS).lines == 0
    assert run_with_dirt(a_shop, [*OTHERS, ZOE]).new == 1


def test_an_erasure_that_was_stopped_is_continued_without_naming_anybody(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_with_dirt(a_shop, [*OTHERS, ZOE])
    users = ["cz77x"]
    for module, name in ((run, "run"), (kept, "without"), (mentions, "mentions")):
        with monkeypatch.context() as stopping:
            stopping.setattr(module, name, _power_cut)
            with pytest.raises(RuntimeError, match="power cut"):
                erase.erase(a_shop.job, users, a_shop.datamart)
        users = []
    assert {r["status"] for r in a_shop.table("erasures")} == {"sent"}
    (receipt,) = erase.erase(a_shop.job, [], a_shop.datamart, vacuum_now=True)
    assert receipt["deletes_confirmed"] == 1
    assert found(a_shop.job.audit) | found(a_shop.job.output) == set()
    assert "cz77x" not in a_shop.names()
    with pytest.raises(DefinitionError, match="nobody to erase"):
        erase.erase(a_shop.job, [], a_shop.datamart)


def _power_cut(*_: Any, **__: Any) -> Any:
    message = "power cut"
    raise RuntimeError(message)


def test_a_person_known_by_the_hash_of_an_address(a_shop: Shop) -> None:
    by_hash = shop.definition(**{
        'identifier: {compartment_id: "1606", user_account_id: customer_id}':
            "identifier: {email_hash: email}",
        "profile_keys: {compartment_id: 1606, user_account_id: customer_id}":
            "profile_keys: {compartment_id: 1606}",
    })  # fmt: skip
    run_with_dirt(a_shop, [*OTHERS, ZOE], definition=by_hash)
    hashed = hashlib.sha256(b"zoe.q@private.example").hexdigest()
    (receipt,) = erase.erase(
        a_shop.job, ["zoe.q@Private.example"], a_shop.datamart, vacuum_now=True
    )
    assert (receipt["profiles"], receipt["deletes_confirmed"]) == (1, 1)
    assert found(a_shop.job.audit, (*VALUES, hashed)) == set()
    assert found(a_shop.job.output, (*VALUES, hashed)) == set()
    assert len(list(a_shop.emulator.store.profiles())) == len(OTHERS)


def test_an_address_that_others_have_too_is_no_name_of_the_person(a_shop: Shop) -> None:
    family = [
        {**OTHERS[0], "email": "us@home.example"},
        *OTHERS[1:],
        {**ZOE, "email": "us@home.example"},
    ]
    run_with_dirt(a_shop, family)
    tables, zoe = a_shop.job.tables(), ("shop", "cz77x")
    assert persons.search(tables, ["cz77x", "c7"]).profiles == {"cz77x": (zoe,), "c7": ()}
    known = persons.known(tables, ["cz77x"], [zoe])
    assert (known.profiles, known.emails) == ((zoe,), ())


def test_a_file_without_lines_left_goes(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"1\n2\n")
    (tmp_path / "b.ndjson").write_bytes(b"1\n")
    entry = {"lines": 2, "bytes": 4, "sha256": ""}
    listed = [{"path": "a.ndjson", **entry}, {"path": "b.ndjson", **entry}]
    (tmp_path / "manifest.json").write_text(json.dumps({"files": listed}))
    done = kept.without(stores.folder(tmp_path), ["a.ndjson", "b.ndjson", "c.ndjson"], {b"1"})
    assert [(file.path, file.lines, file.bytes) for file in done] == [
        ("a.ndjson", 1, 2), ("b.ndjson", 0, 0),
    ]  # fmt: skip
    assert done[0].sha256 == hashlib.sha256(b"2\n").hexdigest()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ndjson", "manifest.json"]
    (left,) = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert left["path"] == "a.ndjson"


def test_a_key_makes_other_hashes() -> None:
    assert receipts.Hasher("00").hash("A@B.fr ") == receipts.Hasher("00").hash("a@b.fr")
    assert receipts.Hasher("00").hash("c1") != receipts.Hasher("01").hash("c1")
    assert receipts.Hasher("00").hash("c1") != receipts.Hasher("00", "secret").hash("c1")

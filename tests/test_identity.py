"""People change: addresses, keys, cards. The platform holds what is wanted, and nothing else."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from people import CARD_OR_EMAIL, SHAPES, Person, Shop, definition, email_hash

from spark_profiles import cli
from spark_profiles.aftercare import erase, explain, rollback
from spark_profiles.audit.guard import Acceptance, Limits
from spark_profiles.audit.states import RunStatus
from spark_profiles.core.addresses import Address
from spark_profiles.emulator import server
from spark_profiles.emulator.behaviour import Behaviour
from spark_profiles.errors import GuardError, NotFoundError, UnconfirmedError
from spark_profiles.lines.changes import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

# Records of the driver go by delta-rs: by Spark each takes seconds, and a run has many.
pytestmark = pytest.mark.at_hand

Days = list[list[Person]]
UNKNOWNS = {
    "as documented": Behaviour(),
    "accounts are linked, newest file first": Behaviour(
        upsert_links="account inside", execution_order="newest first"
    ),
    "deletes without account take all": Behaviour(
        delete_without_account="all profiles", delete_without_keys="all profiles",
        execution_order="drawn",
    ),
    "linked, and deletes take all": Behaviour(
        upsert_links="account inside", delete_without_account="all profiles",
        execution_order="newest first",
    ),
}  # fmt: skip
"""What the platform may do where its documentation is silent."""


@pytest.fixture
def a_shop(spark: SparkSession, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shop]:
    behaviour = getattr(request, "param", Behaviour())
    store = tmp_path / "datamart.sqlite"
    with server.running(store, token="api:secret", behaviour=behaviour) as emulator:
        yield Shop(spark, tmp_path, emulator)


def one(number: int, email: str, card: int | None = None, name: str | None = None) -> Person:
    return Person(str(number), email, f"card {card}" if card else None, name or f"name {number}")


STORIES: dict[str, Days] = {
    "the address changes": [[one(1, "a", 1)], [one(1, "b", 1)], [one(1, "c", 1)]],
    "the key changes": [[one(1, "a", 1)], [one(9, "a", 1, "name 1")]],
    "the card changes": [[one(1, "a", 1)], [one(1, "a", 2)], [one(1, "a", 1)]],
    "two swap addresses": [
        [one(1, "a", 1), one(2, "b", 2)], [one(1, "b", 1), one(2, "a", 2)],
    ],
    "two swap cards": [[one(1, "a", 1), one(2, "b", 2)], [one(1, "a", 2), one(2, "b", 1)]],
    "each takes the address of the next, the last leaves": [
        [one(1, "a", 1), one(2, "b", 2), one(3, "c", 3)], [one(1, "b", 1), one(2, "c", 2)],
        [one(1, "c", 1)],
    ],
    "an address passes on to a newcomer": [[one(1, "a", 1)], [one(2, "a", 2)]],
    "an address passes on, who had it has another": [
        [one(1, "a", 1)], [one(1, "b", 1), one(2, "a", 2)],
    ],
    "a card passes on": [[one(1, "a", 1), one(2, "b", 2)], [one(2, "b", 1)]],
    "two accounts merge": [[one(1, "a", 1), one(2, "b", 2)], [one(1, "b", 2)]],
    "a visitor becomes known": [[one(1, "a")], [one(1, "a", 1)], [one(1, "b", 1)]],
    "a card is given back": [[one(1, "a", 1)], [one(1, "a")]],
    "one leaves and comes back with another address": [[one(1, "a", 1)], [], [one(1, "b", 1)]],
    "keys change and addresses are swapped": [
        [one(1, "a", 1), one(2, "b", 2)], [one(8, "b", 1), one(9, "a", 2)],
    ],
    "everything at once": [
        [one(1, "a", 1), one(2, "b", 2), one(3, "c", 3)],
        [one(1, "c", 2), one(2, "a", 3), one(3, "b", 1)],
        [one(3, "c", 3), one(4, "a", 1)],
    ],
    "a new name with a new address": [[one(1, "a", 1)], [one(1, "b", 1, "other")]],
}  # fmt: skip


def day(number: int) -> list[Person]:
    """The people of all stories on one day; a story that is over stays as it ended."""
    return [
        person._replace(
            id=f"{n}-{person.id}", email=f"{n}-{person.email}@x.io", name=f"{n} {person.name}",
            card=person.card and f"{n}-{person.card}",
        )
        for n, days in enumerate(STORIES.values())
        for person in days[min(number, len(days) - 1)]
    ]  # fmt: skip


PLAYED = [
    pytest.param(
        behaviour, shape, id=f"{name}, {shape}",
        marks=[] if (name, shape) == ("linked, and deletes take all", "by card, else by e-mail")
        else [pytest.mark.sail],
    )
    for name, behaviour in UNKNOWNS.items()
    for shape in SHAPES
    if shape != "by e-mail" or name == "as documented"
]  # fmt: skip


@pytest.mark.parametrize(("a_shop", "shape"), PLAYED, indirect=["a_shop"])
def test_whoever_changes_has_one_profile_where_it_is_wanted(a_shop: Shop, shape: str) -> None:
    for number in range(3):
        assert a_shop.run(day(number), shape).status is RunStatus.CONFIRMED
        a_shop.check(day(number), shape)
        assert not [line for line, n in Counter(addresses(a_shop)).items() if n > 1]
    again = a_shop.run(day(2), shape)
    assert (again.lines, again.same) == (0, len(day(2)))


def addresses(a_shop: Shop) -> list[str]:
    """The addresses of the lines that were sent, as each says it itself."""
    newest = max(a_shop.table("runs"), key=lambda row: row["started_at"])
    files = Path(newest["output"]).glob("operation=*/*.ndjson")
    lines = [json.loads(text) for file in files for text in file.read_text().splitlines()]
    return [str(Address.of_command(line)) for line in lines]


@pytest.mark.sail
def test_a_contested_address_is_given_to_nobody_until_it_is_resolved(a_shop: Shop) -> None:
    before = [one(1, "a@x"), one(2, "b@x"), one(3, "c@x")]
    a_shop.run(before)
    contested = a_shop.run([one(1, "b@x"), one(2, "b@x"), one(3, "c@x"), one(4, "n@x")])
    assert (contested.unusable, contested.new, contested.moved) == (2, 1, 0)
    a_shop.check([*before, one(4, "n@x")], "by e-mail")
    resolved = [one(1, "b@x"), one(2, "d@x"), one(3, "c@x")]
    a_shop.run(resolved)
    a_shop.check(resolved, "by e-mail")


@pytest.mark.sail
def test_one_card_of_two_people_is_given_to_nobody(a_shop: Shop) -> None:
    shape = "by e-mail, with a card"
    a_shop.run([one(1, "a@x", 1), one(2, "b@x", 2)], shape)
    done = a_shop.run([one(1, "a@x", 7), one(2, "b@x", 7)], shape)
    assert (done.unusable, done.lines) == (2, 0)
    reasons = {tuple(row["reasons"]) for row in a_shop.table("refused_rows")}
    assert reasons == {("account_contested",)}
    a_shop.check([one(1, "a@x", 1), one(2, "b@x", 2)], shape)


@pytest.mark.sail
@pytest.mark.parametrize(
    "changed",
    [
        {"compartment_id: 1606": "compartment_id: 1607"},
        {'"1600"': '"1700"'},
        {CARD_OR_EMAIL: "{email_hash: email}"},
        {"{compartment_id: 1606, user_account_id: card}": "{compartment_id: 1606}"},
    ],
    ids=["compartment inside", "compartment outside", "kind of identifier", "account inside"],
)
def test_a_definition_that_moves_everybody(a_shop: Shop, changed: dict[str, str]) -> None:
    people = [one(1, "a@x", 1), one(2, "b@x", 2), one(3, "c@x")]
    shape = "by card, else by e-mail"
    a_shop.run(people, shape)
    done = a_shop.run(people, definition(shape, **changed))
    assert done.status is RunStatus.CONFIRMED
    assert sum(a_shop.profiles().values()) == 3
    assert a_shop.run(people, definition(shape, **changed)).same == 3
    held = {(h.identifier.split()[0], h.compartment, h.account) for h in a_shop.held()}
    if "compartment_id: 1606" in changed:
        assert {compartment for _, compartment, _ in held} == {"1607"}
    elif CARD_OR_EMAIL in changed:
        assert ("email_hash", "1606", "card 1") in held
    elif '"1600"' not in changed:
        assert {account for *_, account in held} == {""}


@pytest.mark.sail
def test_who_is_kept_for_some_days_gives_way_to_who_has_the_address_now(a_shop: Shop) -> None:
    keep = Policy(keep_gone_days=30)
    object.__setattr__(a_shop.job, "policy", keep)
    a_shop.run([one(1, "a@x"), one(2, "b@x")])
    assert a_shop.run([one(2, "b@x")]).kept == 1
    a_shop.check([one(1, "a@x"), one(2, "b@x")], "by e-mail")
    done = a_shop.run([one(2, "b@x"), one(3, "a@x")])
    assert (done.replaced, done.kept, done.new) == (1, 0, 1)
    a_shop.check([one(2, "b@x"), one(3, "a@x")], "by e-mail")


@pytest.mark.sail
@pytest.mark.parametrize(
    "a_shop", [Behaviour(upsert_links="account inside")], indirect=True, ids=["linked"]
)
def test_an_unchanged_profile_is_sent_again_when_a_delete_may_remove_it(a_shop: Shop) -> None:
    shape = "by e-mail, with a card"
    object.__setattr__(a_shop.job, "policy", Policy(keep_gone_days=30))
    a_shop.run([one(1, "a@x", 1), one(2, "b@x", 2)], shape)
    a_shop.run([one(2, "b@x", 1)], shape)  # 1 is kept; to this platform both are account 1
    object.__setattr__(a_shop.job, "policy", Policy(keep_gone_days=0))
    done = a_shop.run([one(2, "b@x", 1)], shape)
    assert (done.gone, done.resent) == (1, 1)
    a_shop.check([one(2, "b@x", 1)], shape)
    assert a_shop.run([one(2, "b@x", 1)], shape).lines == 0


@pytest.mark.sail
def test_a_merging_strategy_leaves_nothing_of_who_had_the_address(a_shop: Shop) -> None:
    merging = definition(
        "by e-mail", **{"users: customers": "delivery: {strategy: legacy_merge}\nusers: customers"}
    )
    a_shop.run([one(1, "a@x", name="Ada")], merging)
    nameless = Person("2", "a@x", None, None)  # type: ignore[arg-type]
    a_shop.run([nameless], merging)
    (row,) = a_shop.emulator.store.db.all("SELECT payload FROM profiles")
    assert "name" not in json.loads(row["payload"])


@pytest.mark.sail
def test_what_waits_for_a_delete_that_is_rejected_goes_with_the_next_run(a_shop: Shop) -> None:
    a_shop.run([one(1, "a@x"), one(2, "b@x")])
    moved = [one(1, "c@x"), one(2, "d@x")]
    a_shop.emulator.faults.rejects = lambda line: (
        line["operation"] == "DELETE" and line["email_hash"] == email_hash("a@x")
    )
    with pytest.raises(UnconfirmedError, match="waits for deletes"):
        a_shop.run(moved)
    a_shop.check([one(1, "a@x")], "by e-mail")  # of 2 the delete was taken, the rest waits
    with pytest.raises(UnconfirmedError):
        a_shop.run(moved)
    a_shop.check([one(1, "a@x"), one(2, "d@x")], "by e-mail")
    a_shop.emulator.faults.rejects = lambda _: False
    a_shop.run(moved)
    a_shop.check(moved, "by e-mail")


@pytest.mark.sail
def test_a_delete_that_is_rejected_too_often_is_held_and_the_profile_moves(a_shop: Shop) -> None:
    a_shop.run([one(1, "a@x"), one(2, "b@x")])
    moved = [one(1, "c@x"), one(2, "b@x")]
    a_shop.emulator.faults.rejects = lambda line: line["operation"] == "DELETE"
    for _ in range(3):
        with pytest.raises(UnconfirmedError):
            a_shop.run(moved)
    done = a_shop.run(moved)
    assert (done.moved, done.held, done.left_addresses) == (1, 1, 0)
    a_shop.check([one(1, "a@x"), *moved], "by e-mail")
    a_shop.emulator.faults.rejects = lambda _: False
    stays = a_shop.run(moved)
    assert (stays.lines, stays.held, stays.same) == (0, 1, 2)
    asked = a_shop.run(moved, resend=["1"])
    assert (asked.left_addresses, asked.changed) == (1, 1)
    a_shop.check(moved, "by e-mail")


@pytest.mark.sail
def test_what_waited_and_was_not_sent_is_not_taken_for_delivered(a_shop: Shop) -> None:
    """1 moves to the address that 2 leaves; of 2 the delete is rejected, and nothing else goes."""
    a_shop.run([one(1, "a@x"), one(2, "c@x"), one(3, "d@x")])
    then = [one(1, "b@x"), one(2, "a@x"), one(3, "d@x")]
    a_shop.emulator.faults.rejects = lambda line: line["operation"] == "DELETE"
    for _ in range(2):
        with pytest.raises(UnconfirmedError):
            a_shop.run(then)
    a_shop.emulator.faults.rejects = lambda line: line["email_hash"] == email_hash("a@x")
    with pytest.raises(UnconfirmedError):
        a_shop.run(then)
    a_shop.emulator.faults.rejects = lambda _: False
    a_shop.run(then)
    a_shop.check(then, "by e-mail")


@pytest.mark.sail
@pytest.mark.parametrize(
    "a_shop",
    [Behaviour(delete_without_account="all profiles", delete_without_keys="all profiles")],
    indirect=True,
    ids=["all profiles"],
)
def test_what_a_delete_may_have_removed_is_sent_until_it_is_confirmed(a_shop: Shop) -> None:
    """V and U are one user point; V leaves, and what is sent again for U is rejected."""
    shape = "by e-mail, with a card"
    object.__setattr__(a_shop.job, "policy", Policy(keep_gone_days=30))
    a_shop.run([Person("V", "a@x", None, "V"), one(2, "b@x", 2)], shape)
    a_shop.run([Person("U", "a@x", "card U", "U"), one(2, "b@x", 2)], shape)
    object.__setattr__(a_shop.job, "policy", Policy(keep_gone_days=0))
    then = [Person("U", "a@x", "card U", "U"), one(2, "b@x", 2)]
    a_shop.emulator.faults.rejects = lambda line: line["operation"] == "UPSERT"
    with pytest.raises(UnconfirmedError):
        a_shop.run(then, shape)
    a_shop.emulator.faults.rejects = lambda _: False
    a_shop.run(then, shape)
    a_shop.check(then, shape)


@pytest.mark.sail
@pytest.mark.parametrize(
    "a_shop",
    [Behaviour(delete_without_account="all profiles", delete_without_keys="all profiles")],
    indirect=True,
    ids=["all profiles"],
)
def test_what_stays_as_delivered_is_sent_again_too_when_a_delete_may_remove_it(
    a_shop: Shop,
) -> None:
    shape = "by e-mail, with a card"
    object.__setattr__(a_shop.job, "policy", Policy(keep_gone_days=30))
    a_shop.run([Person("V", "a@x", None, "V"), one(2, "b@x", 2)], shape)
    user = Person("U", "a@x", "card U", "U")
    a_shop.run([user, one(2, "b@x", 2)], shape)
    object.__setattr__(a_shop.job, "policy", Policy(keep_gone_days=0))
    contested = [user, one(2, "b@x", 2), Person("W", "a@x", "card W", "W")]
    done = a_shop.run(contested, shape)
    assert (done.gone, done.unusable, done.resent) == (1, 1, 1)
    a_shop.check([user, one(2, "b@x", 2)], shape)


@pytest.mark.sail
def test_half_of_all_addresses_moving_is_a_broken_export(a_shop: Shop) -> None:
    object.__setattr__(a_shop.job, "limits", Limits())
    people = [one(n, f"a{n}@x") for n in range(24)]
    a_shop.run(people)
    broken = [person._replace(email=f"{person.email}.broken") for person in people]
    with pytest.raises(GuardError) as caught:
        a_shop.run(broken)
    assert [problem.where for problem in caught.value.problems] == ["moves"]
    a_shop.check(people, "by e-mail")
    few = broken[:10] + people[10:]
    assert a_shop.run(few).moved == 10
    a_shop.check(few, "by e-mail")
    assert a_shop.run(broken, accepted=Acceptance(("moves",), "me", "new domain")).moved == 14
    a_shop.check(broken, "by e-mail")


def test_a_rollback_over_a_move_restores_the_address(a_shop: Shop) -> None:
    shape = "by e-mail, with a card"
    first = [one(1, "a@x", 1), one(2, "b@x", 2), one(3, "c@x", 3)]
    a_shop.run(first, shape)
    second = a_shop.run([one(1, "b@x", 1), one(2, "a@x", 2), one(9, "c@x", 3, "name 3")], shape)
    a_shop.run([one(1, "d@x", 5), one(2, "a@x", 2)], shape)
    rollback.rollback(a_shop.job, second.run_id, a_shop.datamart)
    a_shop.check(first, shape)
    again = [one(1, "d@x", 5), one(3, "c@x", 3)]
    a_shop.run(again, shape)
    a_shop.check(again, shape)


@pytest.mark.sail
def test_explain_shows_where_a_profile_was(a_shop: Shop) -> None:
    a_shop.run([one(1, "a@x"), one(2, "b@x")])
    a_shop.run([one(1, "c@x"), one(2, "b@x")])
    (account,) = explain.explain(a_shop.job.tables(), "a@x")  # a former address
    told = explain.told(account, "name", show_values=True)
    events = [(e["change"], e["operation"], e["address"].split("|")[0]) for e in told["events"]]
    assert events == [
        ("new", "UPSERT", email_hash("a@x")),
        ("left", "DELETE", email_hash("a@x")),
        ("moved", "UPSERT", email_hash("c@x")),
    ]
    assert [(e["answer"], e["line"]) for e in told["events"]] == [
        ("confirmed", 2), ("confirmed", 1), ("confirmed", 1),
    ]  # fmt: skip
    hidden = explain.told(account, "name")
    assert {event["address"] for event in hidden["events"]} == {"<text>"}


# Erasures

MARKED = {"email: {value: email}": "email: {value: email, personal: identifying}"}


@pytest.mark.sail
def test_an_erasure_deletes_every_address_that_was_ever_sent(a_shop: Shop) -> None:
    a_shop.run([one(1, "a@x"), one(2, "b@x")])
    a_shop.emulator.faults.rejects = lambda line: line["operation"] == "DELETE"
    with pytest.raises(UnconfirmedError):
        a_shop.run([one(1, "c@x"), one(2, "b@x")])
    a_shop.emulator.faults.rejects = lambda _: False
    (receipt,) = erase.erase(a_shop.job, ["1"], a_shop.datamart)
    assert receipt["deletes_confirmed"] == 1
    a_shop.check([one(2, "b@x")], "by e-mail")


@pytest.mark.sail
@pytest.mark.parametrize("given", ["9", "1", "Ada@X.io", email_hash("ada@x.io")])
def test_a_person_whose_key_changed_is_erased_under_both(a_shop: Shop, given: str) -> None:
    a_shop.run([Person("1", "ada@x.io"), one(2, "b@x")])
    a_shop.run([Person("9", "ada@x.io"), one(2, "b@x")])
    if given == "1":  # the same person under a new key, or another one: nobody can tell
        with pytest.raises(NotFoundError, match="another key has their address now"):
            erase.erase(a_shop.job, [given], a_shop.datamart)
        a_shop.check([Person("9", "ada@x.io"), one(2, "b@x")], "by e-mail")
        assert a_shop.table("erasures") == []
        erase.erase(a_shop.job, [given, "9"], a_shop.datamart)
    else:
        erase.erase(a_shop.job, [given], a_shop.datamart)
    a_shop.check([one(2, "b@x")], "by e-mail")
    assert {row["profile_key"] for row in a_shop.table("lines")} == {"2"}


@pytest.mark.sail
def test_who_had_an_address_before_is_erased_alone_where_that_is_said(a_shop: Shop) -> None:
    a_shop.run([one(1, "a@x"), one(2, "b@x")])
    a_shop.run([one(3, "a@x"), one(2, "b@x")])
    erase.erase(a_shop.job, ["1"], a_shop.datamart, keep_successors=True)
    a_shop.check([one(3, "a@x"), one(2, "b@x")], "by e-mail")
    assert {row["profile_key"] for row in a_shop.table("lines")} == {"2", "3"}


@pytest.mark.sail
def test_a_deletion_document_leaves_the_user_points_of_others_out(a_shop: Shop) -> None:
    a_shop.run([one(1, "a@x"), one(2, "b@x")])
    a_shop.run([one(1, "c@x"), one(2, "a@x")])
    documents: list[bytes] = []
    erase.erase(a_shop.job, ["1"], a_shop.datamart, document=documents.append)
    assert [json.loads(line)["hash"] for line in documents[0].splitlines()] == [email_hash("c@x")]


@pytest.mark.sail
def test_a_takeover_in_doubt_hides_nobody_from_an_erasure(a_shop: Shop) -> None:
    a_shop.run([one(1, "a@x"), one(2, "b@x")])
    start = a_shop.emulator.store.start
    a_shop.emulator.store.start = lambda number: start(number) and not fail(a_shop, number)
    with pytest.raises(UnconfirmedError):
        a_shop.run([one(1, "c@x"), one(2, "a@x")])
    a_shop.emulator.store.start = start
    erase.erase(a_shop.job, ["1"], a_shop.datamart)
    assert ("1606", "", "name 1") not in a_shop.profiles()
    a_shop.run([one(2, "a@x")])
    a_shop.check([one(2, "a@x")], "by e-mail")


def fail(a_shop: Shop, number: int) -> bool:
    """End the execution as failed; nothing of it is applied."""
    a_shop.emulator.store.fail(number, "failed on demand")
    return True


@pytest.mark.sail
def test_an_erasure_leaves_who_has_the_address_now(a_shop: Shop) -> None:
    a_shop.run([one(1, "a@x"), one(2, "b@x")])
    a_shop.run([one(1, "c@x"), one(2, "a@x")])
    erase.erase(a_shop.job, ["1"], a_shop.datamart)
    a_shop.check([one(2, "a@x")], "by e-mail")
    with pytest.raises(NotFoundError, match="1 of 1"):
        erase.erase(a_shop.job, ["1"], a_shop.datamart)


@pytest.mark.sail
@pytest.mark.parametrize(
    ("email", "given"),
    [
        ("zoë.müller@x.io", " ZOË.Müller@x.io "),
        ('"o\'brien"@x.io', '"O\'Brien"@x.io'),
        ("+33 6 12 34", "+33 6 12 34"),
        ("back\\slash@x.io", "back\\slash@x.io"),
    ],
)
def test_a_marked_value_finds_its_person(a_shop: Shop, email: str, given: str) -> None:
    made_of = definition("by card, else by e-mail", **MARKED)
    people = [Person("1", email, "card 1"), Person("2", f"x{email}x", "card 2", "Bob")]
    a_shop.run(people, made_of)
    (receipt,) = erase.erase(a_shop.job, [given], a_shop.datamart)
    assert receipt["profiles"] == 1
    a_shop.check(people[1:], "by card, else by e-mail")


def test_what_is_found_nowhere_is_named_and_no_receipt_is_written(a_shop: Shop) -> None:
    shape = "by card, else by e-mail"
    people = [Person(str(n), f"p{n}@x.io", f"card {n}", f"P{n}") for n in range(4)]
    people[3] = people[3]._replace(email="p2@x.io")
    a_shop.run(people, definition(shape))  # nothing is marked
    with pytest.raises(NotFoundError) as caught:
        erase.erase(a_shop.job, ["nobody", "P1@x.io", "card 0"], a_shop.datamart)
    assert {p.where: p.found.split(",")[0] for p in caught.value.problems} == {
        "nobody": "found nowhere",
        "P1@x.io": "is a value of contact.email",
    }
    assert caught.value.exit_code == 12
    assert len(caught.value.receipts) == len(a_shop.table("erasures")) == 1
    a_shop.check(people[1:], shape)
    marked = definition(shape, **MARKED)
    a_shop.run(people[1:], marked)
    with pytest.raises(NotFoundError, match="names 2 users"):
        erase.erase(a_shop.job, ["p2@x.io"], a_shop.datamart)
    erase.erase(a_shop.job, ["P1@x.io"], a_shop.datamart)
    a_shop.check(people[2:], shape)


@pytest.mark.sail
def test_a_list_is_erased_from_its_first_person_on_and_says_who_was_not(
    a_shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    people = [one(n, f"p{n}@x.io") for n in range(4)]
    a_shop.run(people)
    persons, receipt = a_shop.folder / "persons.txt", a_shop.folder / "receipt.json"
    persons.write_bytes("\ufeff0\r\n\r\nP1@X.io\r\nnobody@x.io\r\n".encode())
    places = ["--audit", a_shop.job.audit, "--output", a_shop.job.output]
    api = ["--datamart", "1500", "--api", a_shop.emulator.url]
    token = ["--token", f"file:{a_shop.folder / 'token'}"]
    asked = ["erase", "--file", str(persons), "--receipt", str(receipt), *places, *api, *token]
    assert cli.guarded(cli.app, asked) == 12
    told = capsys.readouterr()
    assert "nobody@x.io: found nowhere" in told.err
    assert "P1@X.io" not in told.err
    (written,) = json.loads(receipt.read_text())
    assert (written["profiles"], written["deletes_confirmed"]) == (2, 2)
    a_shop.check(people[2:], "by e-mail")
    receipt.unlink()
    assert cli.guarded(cli.app, [*asked, "--user", "nobody"]) == 12
    assert not receipt.exists()
    assert "4 of 4" in capsys.readouterr().err


@pytest.mark.sail
def test_keys_to_remove_that_nobody_has_are_reported(a_shop: Shop) -> None:
    people = [one(n, f"p{n}@x.io") for n in range(3)]
    a_shop.run(people)
    told: list[str] = []
    object.__setattr__(a_shop.job, "listener", lambda event: told.append(str(event)))
    done = a_shop.run(people, remove=["1", "7", "8"])
    assert done.gone == 1
    assert any("2 of 3 keys are in no source and in no delivery" in text for text in told)


# Tables of the version before


@pytest.mark.sail
def test_profiles_that_the_version_before_left_behind_are_found_and_deleted(
    spark: SparkSession, tmp_path: Path
) -> None:
    """`fixtures/audit_v5.zip`: two runs of that version. Ada moved, Bob has another card, Dee left:

    the platform holds both addresses of Ada and of Bob.
    """
    with zipfile.ZipFile(Path(__file__).parent / "fixtures" / "audit_v5.zip") as packed:
        packed.extractall(tmp_path)
    shape = "by e-mail, with a card"
    linked = Behaviour(upsert_links="account inside", execution_order="newest first")
    with server.running(
        tmp_path / "datamart.sqlite", token="api:secret", behaviour=linked
    ) as emulator:
        a_shop = Shop(spark, tmp_path, emulator)
        assert sum(a_shop.profiles().values()) == 5
        a_shop.days = 2
        people = [
            Person("1", "new@x.io", "A1"), Person("2", "bob@x.io", "B2", "Bob"),
            Person("3", "cy@x.io", "C1", "Cy"),
        ]  # fmt: skip
        old = definition(shape, **{"  contact: {email: {value: email}}\n": ""})
        done = a_shop.run(people, old)
        assert (done.status, done.left_addresses, done.resent) == (RunStatus.CONFIRMED, 2, 2)
        a_shop.check(people, shape)
        assert a_shop.run(people, old).lines == 0
        assert {row["address"] for row in a_shop.table("delivered")} == {
            f"{email_hash(p.email or '')}|email_hash||1606|{p.card}" for p in people
        }

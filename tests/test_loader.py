"""A definition is checked whole, before any data is read; every problem has its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_profiles.definition import loader
from spark_profiles.errors import DefinitionError

GOOD = """\
name: shop
time_zone: Europe/Paris
identifier: {compartment_id: "1606", user_account_id: customer_id}
sources:
  customers: {table: crm.customers, key: customer_id}
  purchases: {path: p, format: delta, key: customer_id, time: purchased_at}
users: customers
profile:
  firstname: {value: first_name}
  purchases:
    count: {from: purchases, count: true, windows: [30d, lifetime]}
    on: {from: purchases, max: purchased_at}
"""

BAD = """\
name: shop
time_zone: Europe/Pari
identifier: {compartment_id: "1606", user_acount_id: customer_id}
sources:
  customers: {table: crm.customers, key: customer_id}
  purchases: {path: p, key: customer_id, tiem: purchased_at}
users: custmers
profile:
  firstname: {value: first_name, scael: 2}
  Firstname: {value: first_name}
  $creation_ts: {value: created_at}
  purchases:
    count: {from: purchase, count: true, windows: [30x]}
    both: {from: purchases, count: true, sum: amount}
    last: {from: purchases, latest: 3}
  odd: 3
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        loader.parse_yaml(text, name="shop.yaml")
    assert caught.value.exit_code == 3
    return [str(problem) for problem in caught.value.problems]


def test_a_good_definition_keeps_the_order_and_shape_of_its_profile() -> None:
    definition = loader.parse_yaml(GOOD)
    assert [".".join(path) for path, _ in definition.properties()] == [
        "firstname",
        "purchases.count",
        "purchases.on",  # `on` is a name here, no boolean
    ]


def test_all_problems_come_in_one_error_with_their_lines() -> None:
    found = [problem.split(":")[1].split(" ")[0] for problem in problems_of(BAD)]
    assert found == ["2", "3", "6", "7", "9", "10", "11", "13", "13", "14", "15", "16"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shop.yaml:6 sources.purchases.tiem: unknown key", "did you mean time?"),
        ("shop.yaml:7 users: no source 'custmers'", "did you mean customers?"),
        ("shop.yaml:9 profile.firstname.scael: unknown key", "did you mean scale?"),
        ("shop.yaml:13 profile.purchases.count.from: no source 'purchase'", "mean purchases?"),
        (
            "shop.yaml:10 profile.Firstname: firstname and Firstname differ only in case",
            "rename one",
        ),
        ("shop.yaml:14 profile.purchases.both", "exactly one operation"),
        ("shop.yaml:15 profile.purchases.last", "latest and fields go together"),
    ],
)
def test_a_problem_says_where_and_what_to_do(line: str, said: str) -> None:
    assert [p for p in problems_of(BAD) if p.startswith(line) and said in p]


def test_a_key_written_twice_is_refused() -> None:
    text = GOOD.replace("  firstname: {value: first_name}\n", "  a: {value: x}\n  a: {value: y}\n")
    assert problems_of(text) == [
        "shop.yaml:10 profile.a: the key is written twice, first in line 9; expected each key once"
        "\n      -> remove or rename one"
    ]


def test_windows_need_a_time_column() -> None:
    text = GOOD.replace(", time: purchased_at", "")
    assert problems_of(text) == [
        "shop.yaml:11 profile.purchases.count: windows over purchases, which has no time; "
        "expected a source with time: <column>\n      -> add time: to sources.purchases"
    ]


def test_derived_values_may_build_on_each_other_but_not_in_a_circle() -> None:
    text = GOOD + "  a: {derive: b + 1}\n  b: {derive: purchases.count.30d / 2}\n"
    assert loader.parse_yaml(text).definition_hash
    circle = text.replace("purchases.count.30d / 2", "c + 1") + "  c: {derive: a + 'b'}\n"
    assert problems_of(circle)[0] == (
        "shop.yaml:13 profile.a.derive: depends on itself: a -> b -> c -> a; expected values that"
        " do not name each other in a circle\n      -> write one of them over the source"
    )


@pytest.mark.parametrize("wrong", ["purchases.cuont.lifetime", "purchases.count.31d", "frstname"])
def test_a_derived_value_names_values_only(wrong: str) -> None:
    (problem,) = problems_of(GOOD + f"  a: {{derive: {wrong} / 2}}\n")
    assert problem.startswith(f"shop.yaml:13 profile.a.derive: no value '{wrong}'; expected the")
    assert "did you mean" in problem


def test_broken_yaml_names_the_line() -> None:
    assert problems_of("name: [")[0].startswith("shop.yaml:1: ")


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="No such file"):
        loader.load_definition(tmp_path / "none.yaml")


def test_the_hash_ignores_layout_and_comments_and_sees_every_choice() -> None:
    base = loader.parse_yaml(GOOD).definition_hash
    assert (
        loader.parse_yaml(
            "# a comment\n" + GOOD.replace("{value: first_name}", "\n    value: first_name")
        ).definition_hash
        == base
    )
    for old, new in [
        ("30d", "31d"),
        ("Europe/Paris", "UTC"),
        ('"1606"', '"1607"'),
        ("value: first_name", "value: last_name"),
        ("firstname:", "first:"),
    ]:
        assert loader.parse_yaml(GOOD.replace(old, new)).definition_hash != base


def test_the_contract_example_is_a_definition() -> None:
    text = Path(__file__).with_name("contract.yaml").read_text(encoding="utf-8")
    assert loader.parse_yaml(text).name == "shop"


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("  é: {value: x}\n  e\u0301: {value: y}\n", "differ only in how accents are encoded"),
        ("  a: {from: purchases, count: true, per: kind, categories: [x, X]}\n", "x and X differ"),
        (
            "  a: {from: purchases, count: true, per: kind, categories: [x, x]}\n",
            "x is named twice",
        ),
        ("  a: {from: purchases, count: true, per: kind, categories: [$x]}\n", "begins with $"),
        ("  a: {from: purchases, top: kind, members: [name, name]}\n", "members are named twice"),
    ],
)
def test_names_that_a_reader_takes_for_each_other_are_refused(profile: str, said: str) -> None:
    assert [p for p in problems_of(GOOD + profile) if said in p]


def test_records_in_a_declared_order_need_no_time() -> None:
    text = GOOD.replace(", time: purchased_at", "").replace(", windows: [30d, lifetime]", "")
    latest = "  a: {from: purchases, latest: 3, fields: {id: id}}\n"
    assert [p for p in problems_of(text + latest) if "latest over purchases, which has no" in p]
    assert loader.parse_yaml(text + latest.replace("}}", "}, order: [id desc]}")).definition_hash

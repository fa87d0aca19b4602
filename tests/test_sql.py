"""Expressions, read without Spark: what may not stand in them."""

from __future__ import annotations

import pytest

from spark_profiles.definition import sql


@pytest.mark.parametrize(
    "text",
    [
        "first_name", "`first name`", "a.b.c", "xs[0]", "transform(xs, x -> x + y)",
        "exists(xs, x -> x > 1)", "x like any ('a%', 'b%')", "case when a then 'now()' end",
        "`rand` + 1", "t.current_date", "r'\\A\\d+\\z'", "'select 1'", "date '2026-01-01'",
        "unix_timestamp(at)", "a -- a comment", "extract(year from at)", "x is distinct from y",
        "interval 3 days + at", "aggregate(xs, 0, (acc, x) -> acc + x)", "try_cast(x as date)",
        "first", "count", "named_struct('a', 1)", "a <=> b", "if(a, b, c)", "é + `ü``x`",
    ],
)  # fmt: skip
def test_what_is_over_one_row_passes(text: str) -> None:
    assert sql.faults(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sum(x)", "aggregate function sum()"),
        ("COUNT (1)", "aggregate function count()"),
        ("collect_list(x)[0]", "collect_list()"),
        ("row_number() over (order by x)", "window function"),
        ("sum(x) over (partition by y)", "a window function"),
        ("lag(x)", "window function lag()"),
        ("explode(xs)", "makes rows"),
        ("(select 1)", "a subquery"),
        ("x in (select y from t)", "a subquery"),
        ("now()", "not the same in every run"),
        ("current_date", "not the same in every run"),
        ("CURRENT_TIMESTAMP()", "not the same in every run"),
        ("rand(3)", "not the same in every run"),
        ("uuid()", "not the same in every run"),
        ("unix_timestamp( )", "not the same in every run"),
        ("input_file_name()", "not the same in every run"),
        ("monotonically_increasing_id()", "not the same in every run"),
        ("at < timestamp 'now'", "not the same in every run"),
        ("reflect('java.lang.System', 'exit')", "outside of Spark SQL"),
        ("a as b", "not one expression"),
        ("a, b", "not one expression"),
        ("*", "not one expression"),
        ("t.*", "not one expression"),
        ("a) , (b", "not one expression"),
        ("1; drop table x", "no Spark SQL"),
        ("upper(x", "no Spark SQL"),
        ("'open", "no Spark SQL"),
    ],
)
def test_what_is_not_is_named(text: str, found: str) -> None:
    assert any(found in fault.found for fault in sql.faults(text)), sql.faults(text)


@pytest.mark.parametrize("text", ["sum(x)", "count(1)", "max(x) - min(x)", "avg(x) * 2"])
def test_aggregates_belong_into_measures(text: str) -> None:
    assert sql.faults(text, aggregate=True) == []
    assert sql.faults(text)


@pytest.mark.parametrize("text", ["first(x)", "collect_list(x)", "any_value(x)", "mode(x)"])
def test_a_measure_does_not_depend_on_the_order_of_rows(text: str) -> None:
    assert "order of the rows" in sql.faults(text, aggregate=True)[0].found


def test_names_are_replaced_whole_longest_first_and_not_in_strings() -> None:
    names = {"a.b": "p1", "a.b.30d": "p2", "b": "p3"}
    text = "a.b.30d / a.b + 'a.b' + b + a.bc + xa.b"
    assert sql.replaced(text, names) == "p2 / p1 + 'a.b' + p3 + a.bc + xa.b"
    assert sql.references(text, names) == ["a.b", "a.b.30d", "b"]


def test_columns_are_named_whatever_letters_they_have() -> None:
    assert sql.columns("`a b`.c + transform(xs, x -> x + d) + `e``f`") == ["a b", "d", "e`f", "xs"]
    assert sql.quoted("e`f") == "`e``f`"


@pytest.mark.parametrize("text", ["int", "decimal(10,2)", "array<struct<a: int>>", "timestamp_ntz"])
def test_types_are_known(text: str) -> None:
    assert sql.is_type(text)
    assert not sql.is_type(f"x{text}")


def test_white_space_and_comments_say_nothing_strings_do() -> None:
    assert sql.normal("a+ b -- c") == sql.normal("a + b")
    assert sql.normal("'a b'") != sql.normal("'a  b'")
    assert sql.normal("`a`") != sql.normal("'a'")
    assert sql.same("trim( id )", "id")
    assert not sql.same("trim(id)", "id2")

"""Operations that look at rows again: an `Aggregate` -> SQL over rows that are remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlglot
from pyspark.sql import types as T
from sqlglot import exp

from spark_profiles.definition import sql
from spark_profiles.errors import DefinitionError, Problem
from spark_profiles.profiles import arithmetic, folds
from spark_profiles.profiles.arithmetic import MOST_DIGITS, Number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spark_profiles.definition.operations import Aggregate
    from spark_profiles.profiles.sheets import Condition, Sheet

_MEASURES: dict[Any, str] = {
    exp.Count: "count",
    exp.Sum: "sum",
    exp.Avg: "avg",
    exp.Min: "min",
    exp.Max: "max",
}


class Measure(NamedTuple):
    """What `by` says: an aggregate and its operand; without operand, rows are counted."""

    function: str
    operand: str | None
    is_distinct: bool = False


def value(sheet: Sheet, aggregate: Aggregate, rows: Condition, place: str) -> Number:
    """The value as SQL over the history, with its digits where it is a number."""
    operation = aggregate.operation
    if operation == "latest":
        return Number(_latest(sheet, aggregate, rows))
    if operation == "top":
        return Number(_top(sheet, aggregate, rows, measure(place, aggregate.by)))
    if aggregate.merge:
        return _merged(sheet, aggregate, rows)
    number = sheet.number(aggregate.operand, aggregate.scale, most=MOST_DIGITS)
    known = f"transform({sheet.history(rows, number.sql)}, r -> r.{number.sql})"
    return _percentile(aggregate, f"filter({known}, x -> x is not null)", number.scale)


def measure(place: str, by: str) -> Measure:
    """The measure that `by` names.

    Raises:
        DefinitionError: it is not one of the aggregates that are understood.
    """
    try:
        tree: Any = sqlglot.parse_one(by, dialect="spark")
    except sqlglot.errors.SqlglotError:
        tree = None
    function = _MEASURES.get(type(tree))
    operands, is_distinct = _operands(tree) if function else ([], False)
    # Of the distinct values a sum is another one, and `count(a, b)` counts rows with both.
    if function is None or len(operands) != 1 or (is_distinct and function in ("sum", "avg")):
        expected = "count(1), or count, sum, avg, min or max of one expression"
        problem = Problem(f"{place}.by", f"`{by}` is no measure", expected, "by: sum(amount)")
        message = "The definition has a measure that is not understood; nothing was read"
        raise DefinitionError(message, problem)
    operand = operands[0]
    if function == "count" and isinstance(operand, (exp.Literal, exp.Star)):
        return Measure("count", None)
    return Measure(function, operand.sql(dialect="spark"), is_distinct)


def _operands(tree: Any) -> tuple[list[Any], bool]:
    """What an aggregate is over, and whether of its distinct values only."""
    if isinstance(tree.this, exp.Distinct):
        return tree.this.expressions, True
    return [tree.this, *(tree.args.get("expressions") or ())], False


def orders(aggregate: Aggregate) -> list[tuple[str, bool]]:
    """Expression and whether it is descending, for each of the declared orders."""
    found = []
    for order in aggregate.order:
        words = order.rsplit(None, 1)
        is_named = len(words) > 1 and words[1].lower() in ("asc", "desc")
        found.append((words[0] if is_named else order, is_named and words[1].lower() == "desc"))
    return found


def _latest(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> str:
    """Records in the declared order, then newest first, by row_id, then by the fields."""
    fields = {name: sheet.raw(text) for name, text in aggregate.fields.items()}
    declared = [
        f"{sheet.raw(text)} {'desc' if is_descending else 'asc'} nulls last"
        for text, is_descending in orders(aggregate)
    ]
    # Of the same row_id there is one row: then nothing else decides.
    newest_first = ["sp_at", *(sheet.ties() or fields.values())]
    if not (sheet.by_sorting or declared or aggregate.one_per):
        return _sorted(sheet, aggregate, rows, fields, newest_first)
    order = [*declared, *(f"{name} desc nulls last" for name in newest_first)]
    return _ranked(sheet, aggregate, rows, fields, order)


def _ranked(
    sheet: Sheet,
    aggregate: Aggregate,
    rows: Condition,
    fields: Mapping[str, str],
    order: Sequence[str],
) -> str:
    """Only the first rows of a user are remembered, however many there are."""
    is_meant = [rows.sql()] if rows.sql() else []
    if aggregate.one_per:
        in_group = sheet.rank(rows.sql(), order, sheet.raw(aggregate.one_per))
        is_meant.append(f"{in_group} = 1")
    rank = sheet.rank(" and ".join(is_meant), order)
    is_kept = " and ".join([*is_meant, f"{rank} <= {aggregate.latest}"])
    row = f"named_struct('rank', {rank}, 'record', {_struct(fields)})"
    first = sheet.remembered(f"case when {is_kept} then {row} end")
    records = f"transform(sort_array({first}), r -> r.record)"
    return f"case when size({first}) > 0 then {records} end"


def _sorted(
    sheet: Sheet,
    aggregate: Aggregate,
    rows: Condition,
    fields: Mapping[str, str],
    newest_first: Sequence[str],
) -> str:
    """All rows of a user are remembered and sorted."""
    names = dict.fromkeys([*newest_first, *fields.values()])
    known = sheet.remembered(rows.when(_struct({name: name for name in names})))
    record = _struct({name: f"r.{text}" for name, text in fields.items()})
    records = f"transform(slice(sort_array({known}, false), 1, {aggregate.latest}), r -> {record})"
    return f"case when size({known}) > 0 then {records} end"


def _struct(members: Mapping[str, str]) -> str:
    named = (f"{sql.literal(name)}, {text}" for name, text in members.items())
    return f"named_struct({', '.join(named)})"


def _top(sheet: Sheet, aggregate: Aggregate, rows: Condition, by: Measure) -> str:
    """The k categories with most of the measure, unknown measures last, ties by name."""
    name = sheet.raw(aggregate.operand)
    operand = None
    is_sum = by.function in ("sum", "avg")
    if by.operand is not None:
        number = sheet.number(by.operand, aggregate.scale, most=MOST_DIGITS) if is_sum else None
        operand = number or Number(sheet.raw(by.operand))
    history = sheet.history(rows, name, *([operand.sql] if operand else []))
    member = f", 'v', r.{operand.sql}" if operand else ""
    keyed = f"transform({history}, r -> named_struct('k', r.{name}{member}))"
    known = f"sort_array(filter({keyed}, e -> e.k is not null))"
    measured = arithmetic.groups(
        known,
        lambda g: f"named_struct('k', get({g}, 0).k, 'm', {_measured(by, g, operand)})",
    )

    def best(m: str) -> str:
        # Ascending by the negated measure, then by name: the order is total.
        rank = (
            f"transform({m}, e -> named_struct('n', e.m is null, "
            f"'v', -{_ordinal('e.m', by, sheet)}, 'k', e.k, 'm', e.m))"
        )
        chosen = f"slice(sort_array({rank}), 1, {aggregate.k})"
        return f"transform({chosen}, e -> {_shown(aggregate, m, _digits(by, operand, sheet))})"

    return arithmetic.let("m", measured, best)


def _measured(by: Measure, group: str, operand: Number | None) -> str:
    if operand is None:
        return f"size({group})"
    known = f"filter(transform({group}, e -> e.v), x -> x is not null)"
    if by.function == "count":
        return f"size(array_distinct({known}))" if by.is_distinct else f"size({known})"
    if by.function in ("min", "max"):
        return f"array_{by.function}({known})"
    total = arithmetic.total(group, "v", operand.scale)
    if by.function == "sum":
        return total
    size = f"cast(size({known}) as decimal(10,0))"
    return arithmetic.quotient(Number(total, operand.scale), Number(size), MOST_DIGITS)


def _ordinal(measured: str, by: Measure, sheet: Sheet) -> str:
    data_type = sheet.types[by.operand] if by.operand and by.function in ("min", "max") else None
    if isinstance(data_type, T.TimestampType):
        return f"unix_micros({measured})"
    return f"unix_date({measured})" if isinstance(data_type, T.DateType) else measured


def _digits(by: Measure, operand: Number | None, sheet: Sheet) -> int:
    """Digits after the point of a measure that is a number."""
    if by.operand is None or operand is None or by.function == "count":
        return 0
    if by.function in ("sum", "avg"):
        return operand.scale if by.function == "sum" else MOST_DIGITS
    data_type = sheet.types[by.operand]
    if isinstance(data_type, T.DecimalType):
        return data_type.scale
    return 0 if isinstance(data_type, T.IntegralType) else MOST_DIGITS


def _shown(aggregate: Aggregate, groups: str, scale: int) -> str:
    if not aggregate.members:
        return "e.k"
    members = {"name": "e.k", "value": "e.m"}
    if "share" in aggregate.members:
        number = f"decimal(38,{scale})"
        sizes = f"transform({groups}, q -> named_struct('v', try_cast(q.m as {number})))"
        whole = Number(arithmetic.total(sizes, "v", scale), scale)
        digits = MOST_DIGITS if aggregate.scale is None else aggregate.scale
        part = Number(f"try_cast(e.m as {number})", scale)
        members["share"] = arithmetic.quotient(part, whole, digits)
    shown = ", ".join(f"'{name}', {members[name]}" for name in aggregate.members)
    return f"named_struct({shown})"


def _merged(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    """The operation over the sums of whole days, weeks or months, the first ones left out."""
    number = sheet.number(aggregate.operand, aggregate.scale, most=MOST_DIGITS)
    period = sheet.period(str(aggregate.merge))
    history = sheet.history(rows, number.sql, period)
    keyed = f"transform({history}, r -> named_struct('k', r.{period}, 'v', r.{number.sql}))"
    sums = arithmetic.groups(
        f"sort_array({keyed})", lambda g: arithmetic.total(g, "v", number.scale)
    )
    known = f"filter({sums}, x -> x is not null)"
    if aggregate.skip:
        known = f"slice({known}, {aggregate.skip + 1}, 1000000)"
    if aggregate.operation in ("median", "percentile"):
        return _percentile(aggregate, known, number.scale)
    if aggregate.operation in ("min", "max"):
        return Number(f"array_{aggregate.operation}({known})", number.scale)
    structs = f"transform({known}, x -> named_struct('v', x))"
    total = Number(arithmetic.total("vs", "v", number.scale), number.scale)
    if aggregate.operation == "sum":
        return Number(arithmetic.let("vs", structs, lambda _: total.sql), number.scale)
    digits = aggregate.digits or 0
    size = Number("cast(size(vs) as decimal(10,0))")
    exact = arithmetic.quotient(total, size, digits)
    return Number(arithmetic.let("vs", structs, lambda _: exact), digits)


def _percentile(aggregate: Aggregate, array: str, scale: int) -> Number:
    digits = aggregate.digits or 0
    at = (1, 2) if aggregate.at is None else aggregate.at.as_integer_ratio()
    return Number(arithmetic.percentile(f"sort_array({array})", at, scale, digits), digits)


def is_history(aggregate: Aggregate) -> bool:
    """Whether the operation looks at rows again."""
    return not folds.is_fold(aggregate)

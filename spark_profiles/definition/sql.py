"""Spark SQL text of a definition, read without Spark: what may not stand in it, what it names.

The same verdict on every engine: the text is split into tokens and parsed by sqlglot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_STRINGS = r"r?'(?:[^'\\]|\\.|'')*'|r?\"(?:[^\"\\]|\\.)*\""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


AGGREGATES = _names(
    "any any_value approx_count_distinct approx_percentile approx_top_k array_agg avg bit_and"
    " bit_or bit_xor bitmap_construct_agg bitmap_or_agg bool_and bool_or collect_list collect_set"
    " corr count count_if count_min_sketch covar_pop covar_samp every first first_value grouping"
    " grouping_id histogram_numeric hll_sketch_agg hll_union_agg kurtosis last last_value listagg"
    " max max_by mean median min min_by mode percentile percentile_approx percentile_cont"
    " percentile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx"
    " regr_sxy regr_syy skewness some std stddev stddev_pop stddev_samp string_agg sum try_avg"
    " try_sum var_pop var_samp variance"
)
_BY_ROW_ORDER = _names(
    "any_value array_agg collect_list first first_value histogram_numeric last last_value listagg"
    " max_by min_by mode string_agg approx_percentile percentile_approx approx_top_k"
)
_WINDOWS = _names(
    "cume_dist dense_rank lag lead nth_value ntile percent_rank rank row_number session_window"
    " window window_time"
)
_GENERATORS = _names(
    "explode explode_outer inline inline_outer json_tuple posexplode posexplode_outer stack"
)
_CHANGING = _names(
    "curdate current_catalog current_database current_date current_schema current_time"
    " current_timestamp current_timezone current_user input_file_block_length"
    " input_file_block_start input_file_name localtimestamp monotonically_increasing_id now rand"
    " randn random randstr session_user shuffle spark_partition_id uniform user uuid version"
)
_FOREIGN = _names("java_method reflect try_reflect")
_BARE = _names("current_date current_time current_timestamp current_user localtimestamp")
_MOMENTS = _names("now today tomorrow yesterday")
UNITS = _names(
    "year years quarter month months week weeks day days dayofyear hour hours minute minutes"
    " second seconds millisecond microsecond"
)
"""Words that stand where a column could: extract(year from x), date_add(day, 1, x)."""
_QUOTED = _names("IDENTIFIER STRING RAW_STRING NATIONAL_STRING HEX_STRING BYTE_STRING")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an expression, and what to do about it."""

    found: str
    remedy: str = ""


def faults(text: str, *, aggregate: bool = False) -> list[Fault]:
    """What is wrong with the expression, as far as that can be said without its table.

    Args:
        text: Spark SQL.
        aggregate: whether it is a measure over rows, in which aggregate functions belong.
    """
    try:
        tokens = _tokens(text)
    except SqlglotError as error:
        return [_unreadable(error)]
    found = list(dict.fromkeys(_refused(tokens, aggregate=aggregate)))
    if re.search(r"(?i)(?<![\w.`])unix_timestamp\s*\(\s*\)", re.sub(_STRINGS, "''", text)):
        found.append(_changing("unix_timestamp() without a time"))
    return found or list(_unparsable(text))


def normal(text: str) -> str:
    """The expression without what says nothing: white space and comments."""
    try:
        tokens = _tokens(text)
    except SqlglotError:
        return text
    # Of kinds only those that tell text from names: others are sqlglot's own and may be renamed.
    return repr([(kind if kind in _QUOTED else "", word) for kind, word in tokens])


def same(one: str, other: str) -> bool:
    """Whether two expressions read the same text, white space at its ends aside."""
    return _bare(one) == _bare(other)


def _bare(text: str) -> str:
    inner = re.fullmatch(r"\s*trim\s*\(([^(),]*)\)\s*", text, re.IGNORECASE)
    return normal(inner[1] if inner else text)


def columns(text: str) -> list[str]:
    """The columns that the expression names, in order of their names; of a.b.c it is a.

    None of text that cannot be read.
    """
    try:
        tree = sqlglot.parse_one(text, dialect="spark")
    except SqlglotError:
        return []
    return sorted({column.parts[0].name for column in tree.find_all(exp.Column)})


def is_type(text: str) -> bool:
    """Whether the text is a type, such as decimal(10,2)."""
    try:
        exp.DataType.build(text, dialect="spark", udt=False)
    except (SqlglotError, ValueError):
        return False
    return True


def quoted(name: str) -> str:
    """The column of that very name, whatever letters it has."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """The SQL literal of a text."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def replaced(text: str, names: Mapping[str, str]) -> str:
    """`text` with each of the dotted names replaced, outside of its strings."""
    return _named(names, text).sub(lambda match: names.get(match[0], match[0]), text)


def references(text: str, names: Iterable[str]) -> list[str]:
    """The dotted names that stand in `text` outside of its strings, in the order of `names`."""
    listed = list(names)
    found = {match[0] for match in _named(listed, text).finditer(text)}
    return [name for name in listed if name in found]


def _named(names: Iterable[str], text: str) -> re.Pattern[str]:
    there = [name for name in names if name in text]  # of hundreds that a profile may have
    longest_first = "|".join(re.escape(name) for name in sorted(there, key=len, reverse=True))
    return re.compile(rf"{_STRINGS}|(?<![\w.])(?:{longest_first or '(?!)'})(?![\w.])")


def dotted_names(text: str) -> list[str]:
    """What looks like a path of names in `text`, outside of strings and function names."""
    pattern = re.compile(rf"{_STRINGS}|(?<![\w.])[^\W\d]\w*(?:\.\w+)*(?![\w.]|\s*\()")
    found = [match[0] for match in pattern.finditer(text)]
    return [name for name in found if not re.match(_STRINGS, name)]


def transformed(text: str, change: Callable[[exp.Expression], exp.Expression]) -> str:
    """The expression with its tree changed."""
    return str(sqlglot.parse_one(text, dialect="spark").transform(change).sql(dialect="spark"))


def _tokens(text: str) -> list[tuple[str, str]]:
    return [(token.token_type.name, token.text) for token in sqlglot.tokenize(text, read="spark")]


def _refused(tokens: list[tuple[str, str]], *, aggregate: bool) -> Iterator[Fault]:
    ends = [("", ""), *tokens, ("", "")]
    for (_, before), (kind, text), (after_kind, after) in zip(
        ends, ends[1:], ends[2:], strict=False
    ):
        word = text.lower()
        if kind in _QUOTED or before == ".":
            continue
        if word == "select":
            yield Fault("a subquery", "join the data as a source of its own, or aggregate it")
        elif word == "over" and before == ")":
            yield Fault("a window function", "use an aggregated value: from, first, last, latest")
        elif word in ("date", "timestamp") and after_kind == "STRING" and _is_moment(after):
            yield _changing(f"{word} '{after}'")
        elif after == "(" and not (word in ("any", "some") and before.lower().endswith("like")):
            yield from _function(word, aggregate=aggregate)
        elif word in _BARE:
            yield _changing(word)


def _is_moment(text: str) -> bool:
    return text.strip().lower() in _MOMENTS


def _function(word: str, *, aggregate: bool) -> Iterator[Fault]:
    if word in _CHANGING:
        yield _changing(f"{word}()")
    elif word in _WINDOWS:
        yield Fault(f"the window function {word}()", "use first, last or latest over a source")
    elif word in _GENERATORS:
        yield Fault(f"{word}(), which makes rows", "lay the rows out in a source of their own")
    elif word in _FOREIGN:
        yield Fault(f"{word}(), which runs code outside of Spark SQL", "use Spark SQL only")
    elif word in AGGREGATES and not aggregate:
        yield Fault(
            f"the aggregate function {word}()",
            "an expression is over one row; over many rows: {from: source, sum: …}",
        )
    elif word in _BY_ROW_ORDER:
        yield Fault(
            f"{word}(), which depends on the order of the rows",
            "use count, sum, min, max or avg of a decimal",
        )


def _changing(what: str) -> Fault:
    return Fault(
        f"{what}, which is not the same in every run",
        "the same rows, as-of and definition give the same bytes: use windows, max_age or a column",
    )


def _unparsable(text: str) -> Iterator[Fault]:
    # In brackets only a single expression parses; the line end closes a comment.
    try:
        tree = sqlglot.parse_one(f"SELECT ({text}\n)", dialect="spark")
    except SqlglotError as error:
        yield _unreadable(error)
        return
    inner = tree.expressions[0].this if len(tree.expressions) == 1 else None
    if inner is None or isinstance(inner, (exp.Alias, exp.Star, exp.Query)) or _is_many(tree):
        yield Fault("not one expression", "write one Spark SQL expression, without `as` and `*`")


def _is_many(tree: Any) -> bool:
    only = tree.expressions[0]
    star = isinstance(only.this, exp.Column) and isinstance(only.this.this, exp.Star)
    return isinstance(only, exp.Tuple) or star


def _unreadable(error: SqlglotError) -> Fault:
    reason = re.sub(r"\x1b\[\d+m", "", str(error).splitlines()[0])
    reason = re.sub(r"<class '[\w.]*\.(\w+)'>", r"\1", reason)
    return Fault(f"no Spark SQL: {reason.split('. Line ')[0]}", "mend the expression")

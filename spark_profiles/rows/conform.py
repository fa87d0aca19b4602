"""Raw rows -> judged rows: typed, keyed, timed; each with one status, so that none is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.definition import sql
from spark_profiles.rows import columns, keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from spark_profiles.definition.source import Source

ACCEPTED, REFUSED, DUPLICATE, AFTER = "accepted", "refused", "duplicate", "after_as_of"


@dataclass(frozen=True)
class Judged:
    """The rows of one source with their verdicts; one row is a row of the source.

    Beside the source's columns: sp_key (text, or bigint where all keys are whole numbers; or null),
    sp_at (instant or null), sp_is_refused, sp_reasons (array of text, empty unless refused),
    sp_warnings (array of text; where rules warn) and sp_status:

        refused      a reason was found: sp_reasons names all
        after_as_of  its time is at or after as-of
        duplicate    another row of the same user (and row_id) is used instead
        accepted     otherwise

    Where duplicates were looked for, sp_rank tells the rows apart that agree: 1 is an accepted one
    if there is any. Columns named in `types` have that type.
    """

    name: str
    source: Source
    ordered: tuple[str, ...]
    """The columns whose values have an order."""
    examined: DataFrame
    """Each row looked at by itself: no row is a duplicate yet."""
    rows: DataFrame
    """All verdicts. Where duplicates were looked for, laid out by sp_key for what follows."""

    @property
    def is_laid_out(self) -> bool:
        """Whether the rows of a user lie together, in order of sp_key."""
        return self.rows is not self.examined  # duplicates were looked for

    @property
    def accepted(self) -> DataFrame:
        """The rows to be used."""
        return self.rows.where(f"sp_status = '{ACCEPTED}'")

    @property
    def refused(self) -> DataFrame:
        """The refused rows: source, key, reasons (sorted) and the row as it came, as JSON."""
        told = (
            f"'{self.name}' as source",
            "cast(sp_key as string) as key",
            "sp_reasons as reasons",
        )
        refused = self.examined.where(f"sp_status = '{REFUSED}'")
        return refused.select(*map(F.expr, told), as_json())

    @property
    def own(self) -> DataFrame:
        """The one accepted row of each user: the only one, or the newest by the total order."""
        return self.present.where("sp_is_used")

    @property
    def present(self) -> DataFrame:
        """One row of each key that is there: the accepted one to use, else one that is none.

        Beside the columns of `rows`: sp_is_used, whether it is accepted. A key of which all rows
        were excluded is not there.
        """
        standing = _standing(self.source)
        rows = self.rows.where(f"sp_key is not null and {standing} != {_ABSENT}")
        if self.source.row_id:
            rank = _rank(["sp_key"], [standing, *_newest_first(self.ordered, self.source)])
            rows = rows.where(f"sp_status != '{DUPLICATE}'").withColumn("sp_rank", rank)
        first = rows.where("sp_rank = 1") if self.is_laid_out else rows
        return first.withColumn("sp_is_used", F.expr(f"sp_status = '{ACCEPTED}'"))


def judged(
    raw: DataFrame,
    source: Source,
    types: Mapping[str, DataType],
    *,
    name: str,
    is_spine: bool,
    as_of: datetime,
    time_zone: str,
    whole_keys: bool = False,
    spells_decimals: bool = False,
) -> Judged:
    """Every row of the source, typed, keyed, timed and judged.

    Args:
        raw: the rows as they came.
        source: how they become ours; fits them.
        types: the types of its key and its time, by their text.
        name: of the source.
        is_spine: whether it is a source of users, of which one row a user is used.
        as_of: rows at or after it are late.
        time_zone: of dates and wall-clock times.
        whole_keys: the keys of all sources are whole numbers, and stay such.
        spells_decimals: refused rows tell decimals as text, for an engine whose JSON loses the
            minus of those between -1 and 0 (Sail 0.7.2; inside nested values it still does).
    """
    looked_at = _with_reasons(
        raw, source, types, time_zone, whole_keys=whole_keys, spells_decimals=spells_decimals
    )
    status = (
        f"case when sp_is_refused then '{REFUSED}'"
        f" when sp_at >= {columns.instant_sql(as_of)} then '{AFTER}' else '{ACCEPTED}' end"
    )
    examined = looked_at.withColumn("sp_status", F.expr(status))
    by = _unique_by(source, is_spine=is_spine)
    ordered = tuple(f.name for f in raw.schema.fields if _is_orderable(f.dataType))
    rows = examined if by is None else _without_duplicates(examined, ordered, source, by)
    return Judged(name, source, ordered, examined, rows)


def as_json() -> Column:
    """The row as it came, as text."""
    return F.to_json("sp_raw", {"ignoreNullFields": "false"}).alias("row")


def _as_it_came(raw: DataFrame, *, spells_decimals: bool) -> str:
    """The raw row as a struct, for `as_json`."""
    members = [
        f"cast({sql.quoted(field.name)} as string) as {sql.quoted(field.name)}"
        if spells_decimals and isinstance(field.dataType, T.DecimalType)
        else sql.quoted(field.name)
        for field in raw.schema.fields
    ]
    return f"struct({', '.join(members)})"


def _with_reasons(
    raw: DataFrame,
    source: Source,
    types: Mapping[str, DataType],
    time_zone: str,
    *,
    whole_keys: bool,
    spells_decimals: bool,
) -> DataFrame:
    """The raw row with types applied, sp_key, sp_at, sp_warnings and all reasons against it."""
    typed = {c: f"try_cast({sql.quoted(c)} as {to})" for c, to in source.types.items()}
    broken = [
        f"case when {sql.quoted(c)} is not null and {value} is null"
        f" then {sql.literal(f'{c}_not_{source.types[c]}')} end"
        for c, value in typed.items()
    ]
    key = f"({source.key}\n)"
    plain = f"cast({key} as bigint)" if whole_keys else keys.text(key, types[source.key])
    reason = "'key_missing'"
    if not isinstance(types[source.key], T.StringType):
        reason = f"case when {key} is null then 'key_missing' else 'key_not_whole' end"
    broken.append(f"case when {plain} is null then {reason} end")
    if source.row_id:
        unknown = " and ".join(f"{sql.quoted(c)} is null" for c in source.row_id)
        broken.append(f"case when {unknown} then 'row_id_missing' end")
    when = F.lit(None).cast("timestamp")
    if source.time:
        when = columns.instant(source.time, types[source.time], time_zone)
    facts = {
        # The row as it came, for those who mend it; pruned from every plan that does not ask.
        "sp_raw": _as_it_came(raw, spells_decimals=spells_decimals),
        "sp_key": plain,
        "sp_broken": f"array({', '.join(broken)})",
        "sp_is_broken": f"coalesce({', '.join(broken)}) is not null",
    }
    told = [F.expr(f"{text} as {name}") for name, text in facts.items()]
    rows = raw.select("*", *told, when.alias("sp_at"))
    rows = rows.withColumns({c: F.expr(text) for c, text in typed.items()}) if typed else rows
    refusing, warning = (_broken_rules(source, refuses=refuses) for refuses in (True, False))
    if source.time:
        refusing.append("case when sp_at is null then 'time_missing_or_unreadable' end")
    # Most rows are never asked for their reasons, and are spared the list of them.
    is_refused = f"sp_is_broken or coalesce({', '.join(['null', *refusing])}) is not null"
    judgement = [
        f"{_named(['sp_broken', *(f'array({text})' for text in refusing)])} as sp_reasons",
        f"{is_refused} as sp_is_refused",
    ]
    if warning:
        judgement.append(f"{_named([f'array({text})' for text in warning])} as sp_warnings")
    kept = [*map(sql.quoted, raw.columns), "sp_raw", "sp_key", "sp_at"]
    return rows.selectExpr(*kept, *judgement)


_USED, _PRESENT, _ABSENT = 0, 1, 2


def _standing(source: Source) -> str:
    """Whether the row may be used; if not, whether it still shows that its user is there.

    A row that is refused or late is no sign that the user left. One that is not meant says nothing.
    """
    excluding = [f"'{name}'" for name, rule in source.rules.items() if rule.severity == "exclude"]
    is_there = "true"
    if excluding:
        other = f"exists(sp_reasons, reason -> reason not in ({', '.join(excluding)}))"
        is_there = f"size(sp_reasons) = 0 or {other}"
    return (
        f"case when sp_status = '{ACCEPTED}' then {_USED}"
        f" when {is_there} then {_PRESENT} else {_ABSENT} end"
    )


def _broken_rules(source: Source, *, refuses: bool) -> list[str]:
    """SQL for each rule that refuses, or only warns: its name if the row breaks it, else null."""
    return [
        f"case when not coalesce(({rule.condition}\n), false) then '{name}' end"
        for name, rule in source.rules.items()
        if rule.refuses == refuses
    ]


def _named(arrays: Sequence[str]) -> str:
    """The names in these arrays, sorted, without the nulls between."""
    return f"sort_array(filter(concat({', '.join(arrays)}), reason -> reason is not null))"


def _unique_by(source: Source, *, is_spine: bool) -> tuple[str, ...] | None:
    """The columns besides the key of which one row may be used; None: all rows are used."""
    if source.row_id:
        return source.row_id
    return () if source.latest_by or is_spine else None


def _without_duplicates(
    rows: DataFrame, ordered: Sequence[str], source: Source, by: Sequence[str]
) -> DataFrame:
    laid_out = rows.repartition(F.col("sp_key"))
    # Refused and late rows come after all others, so they never win over a good one.
    order = [_standing(source), *_total_order(ordered, source)]
    status = (
        f"case when sp_status = '{ACCEPTED}' and sp_rank > 1 then '{DUPLICATE}' else sp_status end"
    )
    same = ["sp_key", *map(sql.quoted, by)]
    return laid_out.withColumn("sp_rank", _rank(same, order)).withColumn(
        "sp_status", F.expr(status)
    )


def _rank(by: Sequence[str], order: Sequence[str]) -> Column:
    window = f"partition by {', '.join(by)} order by {', '.join(order)}"
    return F.expr(f"row_number() over ({window})")


def _total_order(ordered: Sequence[str], source: Source) -> list[str]:
    """The declared order, then time, then every other column: ties are identical rows."""
    declared = [
        f"{sql.quoted(column)} {'desc' if is_falling else 'asc'} nulls last"
        for column, is_falling in source.orders
    ]
    named = {column.lower() for column, _ in source.orders}
    rest = [column for column in ordered if column.lower() not in named]
    return [*declared, *_newest_first(rest, source)]


def _newest_first(ordered: Sequence[str], source: Source) -> list[str]:
    """Time, then row_id, then every other column."""
    first = [column.lower() for column in source.row_id]
    rest = sorted(
        ordered,
        key=lambda name: first.index(name.lower()) if name.lower() in first else len(first),
    )
    return [f"{name} desc nulls last" for name in ("sp_at", *map(sql.quoted, rest))]


def _is_orderable(data_type: DataType) -> bool:
    text = data_type.simpleString()
    return not ("map<" in text or "variant" in text or text == "void")

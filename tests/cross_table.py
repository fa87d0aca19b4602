"""Every operation over every kind of window for every kind of rows, as a page and as one plan.

python tests/cross_table.py           writes docs/operations-by-window.md

The expected values are those of the plain-Python twin, which shares no code with the library.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import operations_table
import twin

from spark_profiles.definition import loader
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PAGE = Path(__file__).parent.parent / "docs" / "operations-by-window.md"
AS_OF = "2026-04-01T15:00"
WINDOWS = {
    "lifetime": "lifetime",
    "90m": "minutes",
    "24h": "hours",
    "7d": "days",
    "2w": "weeks",
    "1mo": "months",
    "month_to_date": "calendar to date",
    "previous_month": "previous, whole",
    "previous_month_to_date": "previous, to date",
    "month_to_date_last_year": "last year, to date",
    "month_last_year": "last year, whole",
    "7d_ending_7d_ago": "offset",
    "2026-02-01_to_2026-02-08": "between dates",
}
# Wall-clock times in Paris, category, amount. Many lie on an edge of a window, two share a time.
ROWS = (
    ("2026-04-01 14:30", "book", "12.50"), ("2026-04-01 13:30", "film", "-4.00"),
    ("2026-04-01 13:29", "book", "20.00"), ("2026-03-31 15:00", "game", "7.25"),
    ("2026-03-29 03:30", "book", "20.00"), ("2026-03-29 03:30", "film", "3.10"),
    ("2026-03-25 15:00", "film", "60.00"), ("2026-03-24 09:00", "book", "5.00"),
    ("2026-03-18 15:00", "game", "9.99"), ("2026-03-18 14:59", "game", "1.00"),
    ("2026-03-01 15:00", "book", "8.00"), ("2026-03-01 14:59", "film", "2.50"),
    ("2026-03-01 00:00", "book", "4.40"), ("2026-02-28 23:59", "book", "6.00"),
    ("2026-02-03 10:00", "film", "11.00"), ("2026-02-04 11:00", "book", "1.25"),
    ("2026-02-08 00:00", "book", "90.00"), ("2025-04-01 10:00", "game", "33.00"),
    ("2025-04-01 12:00", "book", "0.00"), ("2025-04-01 15:00", "book", "14.00"),
    ("2025-04-30 23:59", "film", "2.00"), ("2025-05-01 00:00", "film", "70.00"),
)  # fmt: skip
CASES = {
    "known": "every row has category and amount",
    "some unknown": "every second row has neither",
    "only unknown": "no row has either",
    "none in it": "one row, of 2019, which lies in no window but lifetime",
    "no row": "the user has no row at all",
}
HEADER = {
    "name": "cross",
    "time_zone": "Europe/Paris",
    "identifier": {"user_account_id": "customer"},
    "sources": {
        "customers": {"table": "customers", "key": "customer"},
        "purchases": {"table": "purchases", "key": "customer", "time": "at", "row_id": ["id"]},
    },
    "users": "customers",
}
NOT_ASKED = ("default", "nulls")  # said of the written value, not of the operation


def operations() -> dict[str, dict[str, Any]]:
    """As it is written -> the property without windows, for each operation of the other table."""
    written = [case["write"] for case in operations_table.TABLE["operations"]]
    found = {text: operations_table.parsed(text) for text in written}
    return {t: prop for t, prop in found.items() if not set(NOT_ASKED) & prop.keys()}


def windows_of(prop: dict[str, Any]) -> list[str]:
    """The windows that the property can be asked over."""
    return [name for name in WINDOWS if "trend" not in prop or name != "lifetime"]


def few_windows_of(prop: dict[str, Any], number: int) -> list[str]:
    """Two of them, others for each operation, so that all operations meet all windows in turn."""
    names = windows_of(prop)
    return [names[number % len(names)], names[(number + 5) % len(names)]]


def asked(*, all_windows: bool) -> dict[str, dict[str, Any]]:
    """The properties of one plan, by how they are written."""
    return {
        text: {**prop, "windows": windows_of(prop) if all_windows else few_windows_of(prop, n)}
        for n, (text, prop) in enumerate(operations().items())
    }


def rows_of(case: str) -> list[twin.Row]:
    """The rows of the user of this case."""
    if case == "no row":
        return []
    if case == "none in it":
        return [_row(99, "2019-06-01 10:00", "book", "5.00")]
    is_known = {
        "known": lambda n: True, "some unknown": lambda n: n % 2 == 0, "only unknown": lambda n: False,
    }[case]  # fmt: skip
    return [
        _row(n, at, category, amount) if is_known(n) else _row(n, at, None, None)
        for n, (at, category, amount) in enumerate(ROWS)
    ]


def _row(number: int, at: str, category: str | None, amount: str | None) -> twin.Row:
    return {
        "id": number,
        "at": twin.utc(datetime.fromisoformat(at)),
        "category": category,
        "amount": None if amount is None else Decimal(amount),
    }


@cache
def expected() -> dict[tuple[str, str, str], Any]:
    """(operation, case, window) -> the value, by the twin."""
    as_of = twin.utc(datetime.fromisoformat(AS_OF))
    rows = {case: rows_of(case) for case in CASES}
    found: dict[tuple[str, str, str], Any] = {}
    for text, prop in operations().items():
        for window in windows_of(prop):
            values = [twin.value(prop, window, rows[case], as_of) for case in CASES]
            if "tiles" in prop:
                values = twin.steps(values, prop["tiles"], prop.get("best", "high"))
            found |= {(text, c, window): v for c, v in zip(CASES, values, strict=True)}
    return found


def plan(spark: SparkSession, properties: dict[str, dict[str, Any]]) -> pipeline.Plan:
    """One plan of all their cells."""
    profile = {f"c{n}": {"from": "purchases", **p} for n, p in enumerate(properties.values())}
    definition = loader.parse_definition({**HEADER, "empty_sections": "write", "profile": profile})
    rows = [(case, *row.values()) for case in CASES for row in rows_of(case)]
    tables = {
        "customers": spark.createDataFrame([(case,) for case in CASES], "customer string"),
        "purchases": spark.createDataFrame(
            rows, "customer string, id int, at timestamp, category string, amount decimal(10,2)"
        ),
    }
    return pipeline.plan(spark, definition, as_of=AS_OF, tables=tables)


def computed(
    spark: SparkSession, properties: dict[str, dict[str, Any]]
) -> dict[tuple[str, str, str], Any]:
    """(operation, case, window) -> the value, by the engine, in one job."""
    rows = plan(spark, properties).profiles.collect()
    profiles = {r["profile_key"]: r["user_profile"].asDict(recursive=True) for r in rows}
    return {
        (text, case, window): profiles[case][f"c{n}"][window]
        for n, (text, prop) in enumerate(properties.items())
        for case in CASES
        for window in prop["windows"]
    }


HEAD = """\
# Every operation over every kind of window

Made by `python tests/cross_table.py`. What each operation means, and how ties are broken, is in [operations.md](operations.md); here is what
each gives over each kind of window and rows. The values are those of a slow twin in plain Python. `tests/test_operations.py` compares them with what
Spark and Sail compute: two windows of each operation in every run of the tests, every cell with `--large`.

As of {as_of} in Europe/Paris. The user whose rows are all *known* has these; – is no value.

{rows}

| rows | |
| --- | --- |
{cases}

`trend` over `lifetime` is refused: there is no window before it.

"""


def page() -> str:
    """The text of docs/operations-by-window.md."""
    known = operations_table.table(
        ["id", "at", "category", "amount"],
        [[str(n), at, category, amount] for n, (at, category, amount) in enumerate(ROWS)],
    )
    cases = "\n".join(f"| {name} | {meaning} |" for name, meaning in CASES.items())
    head = HEAD.format(as_of=AS_OF.replace("T", " "), rows=known, cases=cases)
    header = ["operation", "rows", *(f"`{name}`<br>{kind}" for name, kind in WINDOWS.items())]
    lines = []
    for text, prop in operations().items():
        for case in CASES:
            cells = [
                _shown(expected()[text, case, name]) if name in windows_of(prop) else "refused"
                for name in WINDOWS
            ]
            lines.append([f"`{text}`" if case == "known" else "", case, *cells])
    return head + operations_table.table(header, lines) + "\n"


def _shown(value: Any) -> str:
    if value is None or value == {} or (isinstance(value, dict) and not _known(value)):
        return "–"
    if isinstance(value, (list, dict)):
        plain = [_known(v) if isinstance(v, dict) else v for v in value] if isinstance(
            value, list) else _known(value)  # fmt: skip
        return f"`{json.dumps(plain, ensure_ascii=False, default=float, separators=(',', ':'))}`"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _known(value: dict[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in value.items() if member is not None}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

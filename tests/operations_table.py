"""The table of operations and windows: its cases, their definition, and the page made of them.

python tests/operations_table.py           writes docs/operations.md
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from spark_profiles.definition import documents, loader, windows
from spark_profiles.lines import commands
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_profiles.definition.model import Definition

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "operations.md"
TABLE = yaml.load((HERE / "operations.yaml").read_text(encoding="utf-8"), documents._Loader)
EMPTY = "2020-01-01_to_2020-02-01"
USERS = {"ada": "ada", "unknown": "eve", "none": "bob"}

HEAD = """\
# Operations and windows

Made by `python tests/operations_table.py` from `tests/operations.yaml`; `tests/test_operations.py` executes every
example on Spark and on Sail.

A value over the rows of a source is **one operation**, over the rows of `from` that lie in the window and fulfil `where`:

```yaml
purchases:
  amount: {from: purchases, sum: amount, where: category = 'book', windows: [30d, lifetime], scale: 2, default: 0}
```

With `windows` the property is an object with one member a window; without, `lifetime` is meant, or `max_age: 30d`.
With `per` and `categories` it is an object with one member a category, inside the windows.

## Numbers and nulls

- Decimals and whole numbers are exact. A double is rounded half up to `scale` digits (6 where none is declared) before
  it is added, divided or written; which are distinct, least or greatest is asked of doubles as they are. NaN, infinity
  and doubles of more than 28 digits count as unknown (null).
- What is divided, merged, weighed or ranked is looked at with at most 6 digits after the point; there, numbers of more than 26
  digits before the point count as unknown. Where either side of a division is 10^(30 - digits) or more (with more than 7
  digits 10^(37 - 2 digits): a `scale` of 12 leaves 10^13), or a sum or a difference (`trend`) does not fit into
  38 digits, there is no value.
- Rounding is half up (away from zero), once, from the exact value.
- *No value* is left out of the JSON, or is the `default`, or is written as null with `nulls: write` (of a property, or of
  the whole definition). A section without any value is left out, or written as `{}` with `empty_sections: write`.
- Days, weeks and months are those of the definition's `time_zone` and `week_starts` (monday).
- A property is made in this order: operation, `trend`, rounding, `tiles`, `bands`, `default`.

## Operations

The rows of the examples, as of {as_of} in {time_zone} (purchases, `key: customer`, `time: at`, `row_id: [id]`, `amount` a decimal):

{rows}

*Nothing* is the value over no rows. The values are Ada's over her lifetime, over `30d` and over a window without rows;
Eve's, whose one row has neither category nor amount; and Bob's, who has no row. – is no value.

{operations}

What each gives over every kind of window is in [operations-by-window.md](operations-by-window.md).

## Recipes

`tests/test_recipes.py` executes this definition.

```yaml
{recipes}```

A derived value sees the values that it names as they are before `bands` and `default`: null where there is none.

## Windows

All are half-open, `[start, end)`, and never reach beyond as-of. The examples are in the wall-clock time of {time_zone},
where the clocks were moved on 2026-03-29 from 02:00 to 03:00. A wall-clock time that is skipped is read as if the clocks had not been moved;
one that comes twice is the first of the two.

{windows}

`trend` compares with the window before: as long a time that ends where this one starts; for `month_to_date`, `previous_month`
and the like, the same one month (day, week, quarter, year) earlier. `lifetime` has none before it.
What is measured up to as-of (`recency`, `tenure`, `streak`, `half_life`) is measured up to the same as-of in both.
"""


def parsed(write: str) -> dict[str, Any]:
    """The property that is written so."""
    found: dict[str, Any] = yaml.load(f"{{{write}}}", documents._Loader)
    return found


def properties() -> dict[str, dict[str, Any]]:
    """One property for each operation of the table, over three windows."""
    found = {}
    for number, case in enumerate(TABLE["operations"]):
        prop = parsed(case["write"])
        found[f"c{number}"] = {
            "from": "purchases",
            **prop,
            "windows": case.get("windows", ["lifetime", "30d", EMPTY]),
        }
    return found


def definition() -> Definition:
    """The definition with all operations of the table."""
    return loader.parse_definition({
        "name": "table",
        "time_zone": TABLE["time_zone"],
        "identifier": {"user_account_id": "customer"},
        "sources": {
            "customers": {"table": "customers", "key": "customer"},
            "purchases": {
                "table": "purchases",
                "key": "customer",
                "time": "at",
                "row_id": ["id"],
                "types": {"amount": "decimal(10,2)"},
            },
        },
        "users": "customers",
        "profile": properties(),
    })  # fmt: skip


def plan(spark: SparkSession) -> pipeline.Plan:
    """The plan over the rows of the table."""
    rows = [
        tuple({**row, "at": windows.as_of_instant(row["at"], TABLE["time_zone"])}.values())
        for row in TABLE["rows"]
    ]
    tables = {
        "customers": spark.createDataFrame([(u,) for u in USERS.values()], "customer string"),
        "purchases": spark.createDataFrame(
            rows, "customer string, id int, at timestamp, category string, amount string"
        ),
    }
    return pipeline.plan(spark, definition(), as_of=TABLE["as_of"], tables=tables)


def lines(planned: pipeline.Plan) -> dict[str, dict[str, Any]]:
    """User -> profile, as it would be written."""
    rows = planned.lines.select("profile_key", commands.text().alias("line")).collect()
    parsed = {r["profile_key"]: json.loads(r["line"], parse_float=Decimal) for r in rows}
    return {user: line["user_profile"] for user, line in parsed.items()}


def found(case: int, profiles: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The values of one case, by the names of the table."""
    names = list(properties()[f"c{case}"]["windows"])
    values = {user: profiles[name].get(f"c{case}") or {} for user, name in USERS.items()}
    of_ada = {("empty" if name == EMPTY else name): values["ada"].get(name) for name in names}
    return {
        **of_ada,
        "unknown": values["unknown"].get(names[0]),
        "none": values["none"].get(names[0]),
    }


def page() -> str:
    """The text of docs/operations.md."""
    rows = table(
        ["customer", "id", "at", "category", "amount"],
        [[_shown(value) for value in row.values()] for row in TABLE["rows"]],
    )
    operations = []
    for case in TABLE["operations"]:
        values = case["values"]
        window = next(iter(values))
        cells = [values.get("lifetime"), values.get("30d", values.get(window)), values["empty"]]
        cells += [values["unknown"], values["none"]]
        shown = [_shown(v, writes_null=case.get("writes_null", False)) for v in cells]
        if window != "lifetime":
            shown[:2] = ["", f"{shown[1]} (`{window}`)"]
        operations.append(
            [f"`{case['write']}`", case["meaning"], str(case["nothing"]), case["ties"], *shown]
        )
    kinds = [
        [f"`{w['write']}`", w["meaning"], w["as_of"], w["start"] or "–", w["end"]]
        for w in TABLE["windows"]
    ]
    return (
        HEAD.replace("`{}`", "`{{}}`")
        .replace("{from", "{{from")
        .replace("default: 0}", "default: 0}}")
        .format(
            as_of=TABLE["as_of"],
            time_zone=TABLE["time_zone"],
            rows=rows,
            recipes=(HERE / "recipes.yaml").read_text(encoding="utf-8"),
            operations=table(
                [
                    "write",
                    "meaning",
                    "nothing",
                    "ties",
                    "lifetime",
                    "30d",
                    "no rows in it",
                    "only nulls",
                    "no row at all",
                ],
                operations,
            ),
            windows=table(["window", "meaning", "as-of", "start", "end"], kinds),
        )
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *[[c.replace("|", "\\|") for c in r] for r in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: Any, *, writes_null: bool = False) -> str:
    if value is None:
        return "null" if writes_null else "–"
    if isinstance(value, str):
        return value
    return f"`{json.dumps(value, ensure_ascii=False)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

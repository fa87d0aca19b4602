"""TPC-H at scale factor 0.1: every value of every customer is what DuckDB computes.

Needs the generator of the data, `pip install tpchgen-cli`; run by `pytest --large -m large`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from spark_profiles.definition import loader
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

AS_OF = "1998-08-03"
WINDOWS = {
    "lifetime": "true",
    "90d": "at_ >= date '1998-05-05'",
    "12mo": "at_ >= date '1997-08-03'",
    "previous_year": "at_ >= date '1997-01-01' and at_ < date '1998-01-01'",
}
# Property -> what we ask, and how DuckDB says it.
ORDERS = {
    "orders": ({"count": True}, "count(*)"),
    "amount": ({"sum": "o_totalprice"}, "sum(o_totalprice)"),
    "least": ({"min": "o_totalprice"}, "min(o_totalprice)"),
    "most": ({"max": "o_totalprice"}, "max(o_totalprice)"),
    "clerks": ({"count_distinct": "o_clerk"}, "count(distinct o_clerk)"),
    "urgent": (
        {"count": True, "where": "o_orderpriority = '1-URGENT'"},
        "count(*) filter (o_orderpriority = '1-URGENT')",
    ),
    "last_status": ({"last": "o_orderstatus"}, "arg_max(o_orderstatus, (at_, o_orderkey))"),
    "last_orders": (
        {"latest": 3, "fields": {"id": "o_orderkey"}},
        "list(o_orderkey order by at_ desc, o_orderkey desc)[1:3]",
    ),
    "priorities": (
        {"values": "o_orderpriority"}, "list_sort(list(distinct o_orderpriority))",
    ),
    "recency": ({"recency": "days"}, f"date '{AS_OF}' - cast(max(at_) as date)"),
}  # fmt: skip
ITEMS = {
    "items": ({"count": True}, "count(*)"),
    "quantity": ({"sum": "l_quantity"}, "sum(l_quantity)"),
    "returned": ({"any": "l_returnflag = 'R'"}, "bool_or(l_returnflag = 'R')"),
    "modes": ({"frequency": "months"}, "count(distinct date_trunc('month', at_))"),
}


def definition(as_columns: dict[str, dict[str, Any]]) -> Any:
    return loader.parse_definition({
        "name": "tpch",
        "time_zone": "UTC",
        "identifier": {"user_account_id": "c_custkey"},
        "sources": {
            "customer": {"table": "customer", "key": "c_custkey"},
            "orders": {"table": "o", "key": "o_custkey", "time": "at_", "row_id": ["o_orderkey"]},
            "lineitem": {"table": "l", "key": "o_custkey", "time": "at_",
                         "row_id": ["l_orderkey", "l_linenumber"]},
        },
        "users": "customer",
        "empty_sections": "write",
        "profile": as_columns,
    })  # fmt: skip


@pytest.mark.large
def test_every_value_of_every_customer_is_duckdbs(spark: SparkSession, tmp_path: Path) -> None:
    generator = shutil.which("tpchgen-cli", path=str(Path(sys.executable).parent))
    assert generator, "pip install tpchgen-cli"
    tables = "customer,orders,lineitem"
    subprocess.run(
        [generator, "parquet", "-s", "0.1", f"--tables={tables}", f"--output-dir={tmp_path}"],
        check=True,
    )
    base = duckdb.connect()
    paths = {name: f"{tmp_path}/{name}.parquet" for name in tables.split(",")}
    base.execute(f"""
        create view customer as from '{paths["customer"]}';
        create table o as select *, cast(o_orderdate as timestamp) at_ from '{paths["orders"]}';
        create table l as select l.*, o_custkey, cast(l_shipdate as timestamp) at_
            from '{paths["lineitem"]}' l join o on l_orderkey = o_orderkey
            where cast(l_shipdate as timestamp) < timestamp '{AS_OF}';
    """)
    asked = {"orders": ORDERS, "lineitem": ITEMS}
    profile = {
        name: {"from": source, **ours, "windows": list(WINDOWS)}
        for source, properties in asked.items()
        for name, (ours, _) in properties.items()
    }
    for table in ("o", "l"):
        base.execute(f"copy {table} to '{tmp_path}/{table}.parquet'")
    plan = pipeline.plan(
        spark,
        definition(profile),
        as_of=AS_OF,
        tables={
            "customer": spark.read.parquet(paths["customer"]),
            "orders": spark.read.parquet(f"{tmp_path}/o.parquet"),
            "lineitem": spark.read.parquet(f"{tmp_path}/l.parquet"),
        },
    )
    found = {int(r["profile_key"]): r["user_profile"].asDict(True) for r in plan.profiles.collect()}
    customers = [key for (key,) in base.execute("select c_custkey from customer").fetchall()]
    assert found.keys() == set(customers)
    assert len(customers) == 15_000
    values = 0
    for source, properties in asked.items():
        for window, condition in WINDOWS.items():
            for name, expected in _by_duckdb(base, source, properties, condition, customers):
                values += 1
                wrong = {
                    key: (_plain(found[key][name][window]), _plain(value))
                    for key, value in expected.items()
                    if _plain(found[key][name][window]) != _plain(value)
                }
                assert wrong == {}, (name, window)
    assert values == 4 * (len(ORDERS) + len(ITEMS)) == 56


def _by_duckdb(
    base: Any, source: str, properties: dict[str, Any], condition: str, customers: list[int]
) -> Any:
    """Each property with its value for each customer, those without rows included."""
    table = {"orders": "o", "lineitem": "l"}[source]
    asked = ", ".join(sql for _, sql in properties.values())
    rows = base.execute(f"select o_custkey, {asked} from {table} where {condition} group by 1")
    by_key = {row[0]: row[1:] for row in rows.fetchall()}
    for place, (name, (ours, _)) in enumerate(properties.items()):
        nothing = 0 if {"count", "count_distinct", "frequency"} & ours.keys() else None
        yield name, {key: by_key[key][place] if key in by_key else nothing for key in customers}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item["id"] if isinstance(item, dict) else item) for item in value]
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value

"""Polars, lazy: one group_by a source, joins, JSON lines. Usage: with_polars.py DATA OUTPUT."""

from __future__ import annotations

import sys
from datetime import date, datetime, timezone
from pathlib import Path

import polars as pl

AS_OF = date(1998, 8, 3)
NOW = datetime(1998, 8, 3, tzinfo=timezone.utc)
WINDOWS = {
    "30d": date(1998, 7, 4),
    "90d": date(1998, 5, 5),
    "365d": date(1997, 8, 3),
    "730d": date(1996, 8, 3),
    "lifetime": date(1, 1, 1),
}
PRIORITIES = {
    "urgent": "1-URGENT",
    "high": "2-HIGH",
    "medium": "3-MEDIUM",
    "unspecified": "4-NOT SPECIFIED",
    "low": "5-LOW",
}

data, output = map(Path, sys.argv[1:3])
output.mkdir(parents=True)


def number(column: str) -> pl.Expr:
    """A decimal as a JSON number; Polars writes decimals as text."""
    return pl.col(column).cast(pl.Float64)


price, ordered = pl.col("o_totalprice"), pl.col("o_orderdate")
last = pl.struct(
    id="o_orderkey",
    date="o_orderdate",
    amount=number("o_totalprice"),
    status="o_orderstatus",
    clerk="o_clerk",
).sort_by("o_orderdate", "o_orderkey", descending=True)
orders = (
    pl.scan_parquet(data / "orders" / "*.parquet")
    .filter(ordered < AS_OF)
    .group_by("o_custkey")
    .agg(
        *[(ordered >= start).sum().alias(f"count_{w}") for w, start in WINDOWS.items()],
        *[
            price.filter(ordered >= start).sum().alias(f"amount_{w}")
            for w, start in WINDOWS.items()
        ],
        *[
            price.filter(ordered >= start).max().alias(f"largest_{w}")
            for w, start in WINDOWS.items()
        ],
        *[(pl.col("o_orderpriority") == text).sum().alias(p) for p, text in PRIORITIES.items()],
        last.head(3).alias("last"),
    )
)
scores = (
    pl.scan_parquet(data / "scores" / "*.parquet")
    .filter(pl.col("scored_at") < NOW)
    .group_by("c_custkey")
    .agg(
        pl.struct("model", "score", at=pl.col("scored_at").dt.epoch("ms"))
        .sort_by("scored_at", "model", descending=True)
        .head(4)
        .alias("scores")
    )
)
newsletters = (
    pl.scan_parquet(data / "newsletters" / "*.parquet")
    .filter(pl.col("updated_at") < NOW)
    .group_by("c_custkey")
    .agg(
        pl.struct(
            "subscribed", "frequency", name="newsletter", at=pl.col("updated_at").dt.epoch("ms")
        )
        .sort_by("updated_at", "newsletter", descending=True)
        .head(2)
        .alias("newsletters")
    )
)
# The sum of nothing is 0 here; a profile leaves it out.
amounts = {
    w: pl.when(pl.col(f"count_{w}") > 0).then(number(f"amount_{w}")).alias(w) for w in WINDOWS
}
(
    pl.scan_parquet(data / "customer" / "*.parquet")
    .join(orders, left_on="c_custkey", right_on="o_custkey", how="left")
    .join(scores, on="c_custkey", how="left")
    .join(newsletters, on="c_custkey", how="left")
    .with_columns(account=pl.col("c_custkey").cast(pl.String))
    .select(
        operation=pl.lit("UPSERT"),
        compartment_id=pl.lit("1606"),
        user_account_id="account",
        update_strategy=pl.lit("FORCE_REPLACE"),
        user_profile=pl.struct(
            pl.lit(1606).alias("$compartment_id"),
            pl.col("account").alias("$user_account_id"),
            name="c_name",
            address="c_address",
            phone="c_phone",
            nation="c_nationkey",
            segment="c_mktsegment",
            balance=number("c_acctbal"),
            about="c_comment",
            orders=pl.struct(
                count=pl.struct(*[pl.col(f"count_{w}").fill_null(0).alias(w) for w in WINDOWS]),
                amount=pl.struct(*amounts.values()),
                largest=pl.struct(*[number(f"largest_{w}").alias(w) for w in WINDOWS]),
                last="last",
                by_priority=pl.struct(*[pl.col(p).fill_null(0) for p in PRIORITIES]),
            ),
            scores="scores",
            newsletters="newsletters",
        ),
    )
    .sink_ndjson(output / "profiles.ndjson")
)

"""The tables that every contender reads: customers and orders of TPC-H, scores and newsletters.

A scale factor is 150,000 customers, 1.5 M orders (of two customers in three), 0.6 M scores and
0.3 M newsletter rows, as Parquet. Same scale, same bytes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

_SCORES = """
    SELECT c_custkey,
        model,
        (c_custkey * 7919 + n * 104729) % 10001 / 10000.0::DOUBLE AS score,
        to_timestamp(899251200 + (c_custkey * 31 + n * 17) % 2500000) AS scored_at
    FROM '{customers}',
        (VALUES (1, 'churn'), (2, 'active'), (3, 'value'), (4, 'upsell')) AS models(n, model)
"""
_NEWSLETTERS = """
    SELECT c_custkey,
        newsletter,
        (c_custkey + n) % 3 > 0 AS subscribed,
        (['DAILY', 'WEEKLY', 'MONTHLY'])[1 + (c_custkey * 13 + n) % 3] AS frequency,
        to_timestamp(852076800 + (c_custkey * 97 + n * 29) % 40000000) AS updated_at
    FROM '{customers}', (VALUES (1, 'offers'), (2, 'stories')) AS newsletters(n, newsletter)
"""


def make(scale: float, folder: Path) -> Path:
    """The folder of the tables at this scale; made where it is not there yet."""
    made = folder / f"sf{scale:g}"
    if made.exists():
        return made
    partial = folder / f"_sf{scale:g}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tpch = [str(Path(sys.executable).parent / "tpchgen-cli"), "parquet", "-s", f"{scale:g}"]
    parts = str(max(1, round(scale)))
    subprocess.run(
        [*tpch, "--tables=customer,orders", f"--parts={parts}", f"--output-dir={partial}"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with duckdb.connect() as connection:
        for name, query in (("scores", _SCORES), ("newsletters", _NEWSLETTERS)):
            rows = query.format(customers=partial / "customer" / "*.parquet")
            (partial / name).mkdir()
            target = partial / name / f"{name}.parquet"
            connection.execute(f"COPY ({rows}) TO '{target}' (FORMAT parquet)")
    partial.rename(made)
    return made

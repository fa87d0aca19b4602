"""The floor: scan the columns that are needed, write as many bytes as the lines have.

Usage: floor.py DATA OUTPUT BYTES.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

COLUMNS = {
    "customer": None,
    "orders": [
        "o_orderkey", "o_custkey", "o_orderstatus", "o_totalprice", "o_orderdate",
        "o_orderpriority", "o_clerk",
    ],
    "scores": None,
    "newsletters": None,
}  # fmt: skip
PIECE = bytes(range(256)) * 4096

data, output, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for table, columns in COLUMNS.items():
    for file in sorted((data / table).glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(columns=columns):
            del batch
output.mkdir(parents=True)
with (output / "profiles.ndjson").open("wb") as stream:
    for written in range(0, size, len(PIECE)):
        stream.write(PIECE[: size - written])

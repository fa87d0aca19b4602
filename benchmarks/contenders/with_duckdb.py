"""DuckDB: `duckdb.sql`, whole. Usage: with_duckdb.py DATA OUTPUT."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

data, output = sys.argv[1:3]
Path(output).mkdir(parents=True)
script = Path(__file__).with_name("duckdb.sql").read_text(encoding="utf-8")
script = script.replace("$data", f"'{data}'").replace("$output", output)
duckdb.connect().execute(script)

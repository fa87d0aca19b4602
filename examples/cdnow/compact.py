"""Makes the two compact files of this folder from the published text files.

python compact.py CDNOW_master.txt CDNOW_sample.txt cdnow_customers_summary_with_transactions.csv
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(master: str, sample: str, summary: str) -> None:
    """Write purchases.csv.gz and customers_summary.csv.gz."""
    lines = Path(master).read_text().splitlines()[1:]
    purchases = [
        (n, customer, f"{day[:4]}-{day[4:6]}-{day[6:]}", quantity, amount)
        for n, (customer, day, quantity, amount) in enumerate(map(str.split, lines), start=1)
    ]
    _write(
        "purchases", ("purchase_id", "customer_id", "purchased_on", "quantity", "amount"), purchases
    )
    # The sample numbers its customers anew; its first two columns say who is who.
    of_sample = {
        row[1].lstrip("0"): row[0] for row in map(str.split, Path(sample).read_text().splitlines())
    }
    with Path(summary).open() as file:
        rows = [
            (of_sample[r["ID"]], r["x"], r["t_x"], r["T"], r["zbar"]) for r in csv.DictReader(file)
        ]
    _write("customers_summary", ("customer_id", "frequency", "recency", "age", "mean_value"), rows)


def _write(name: str, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    # No name and no time inside, so that the same input gives the same file.
    (HERE / f"{name}.csv.gz").write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])

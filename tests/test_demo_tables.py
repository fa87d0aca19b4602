"""The demo's data: the real log is whole, the scores are right, the rest follows from the seed."""

from __future__ import annotations

import csv
import gzip
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
from pyarrow import parquet

from spark_profiles.demo import cdnow, scoring, story, tables

DAY = date(1998, 4, 1)


def test_raw_tables_are_kept_if_they_are_whole_and_of_this_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[date] = []

    def write(folder: Path, *, as_of: date) -> None:
        made.append(as_of)
        folder.mkdir(parents=True)
        if len(made) == 1:
            raise OSError("no space left")

    monkeypatch.setattr(tables, "write_tables", write)
    for wanted in ([*story.DAYS], [*story.DAYS] * 2, [*story.DAYS] * 2, [*story.DAYS] * 3):
        if len(wanted) > 4:
            monkeypatch.setattr(tables, "recipe", lambda: "of another version")
        with ThreadPoolExecutor(1) as exporter:
            story._exports(tmp_path, exporter)
        assert made == wanted


def test_the_log_is_the_published_one() -> None:
    log = cdnow.purchases()
    days = [purchase.purchased_on for purchase in log]
    assert (len(log), len({purchase.customer_id for purchase in log})) == (69_659, 23_570)
    assert (min(days), max(days)) == (date(1997, 1, 1), date(1998, 6, 30))


def test_frequency_recency_and_age_agree_with_the_published_summary() -> None:
    """As of 1997-09-30, purchases of one day merged; all 2,357 customers of the sample."""
    with gzip.open(cdnow.folder() / "customers_summary.csv.gz", "rt") as file:
        published = {row["customer_id"]: row for row in csv.DictReader(file)}
    days: dict[str, set[date]] = {customer: set() for customer in published}
    for purchase in cdnow.purchases():
        if purchase.customer_id in days and purchase.purchased_on <= date(1997, 9, 30):
            days[purchase.customer_id].add(purchase.purchased_on)
    assert len(published) == 2_357
    for customer, row in published.items():
        bought = sorted(days[customer])
        assert len(bought) - 1 == int(row["frequency"])
        recency, age = (bought[-1] - bought[0]).days / 7, (date(1997, 9, 30) - bought[0]).days / 7
        assert recency == pytest.approx(float(row["recency"]), abs=0.006)
        assert age == pytest.approx(float(row["age"]), abs=0.006)


def test_the_published_example_of_an_expectation() -> None:
    """Fader, Hardie and Lee (2005): x=2, t_x=30.43, T=38.86 gives 1.226 in the next 39 weeks."""
    found = scoring.expected_purchases(scoring.PUBLISHED, 2, 30.43, 38.86, 39)
    assert found == pytest.approx(1.226, abs=0.0005)


@pytest.mark.parametrize(("x", "recency", "age"), [(0, 0.0, 30.0), (1, 5.0, 30.0), (7, 28.0, 60.0)])
def test_the_probability_agrees_with_numerical_integration(
    x: int, recency: float, age: float
) -> None:
    """Over the mixing distributions of rate and dropout, without the closed form."""
    p = scoring.PUBLISHED

    # The rate integrates to a gamma function in closed form; the dropout is left to the sum.
    def weight(total: float) -> float:
        return (p.alpha + total) ** -(p.r + x)

    steps = 200_000
    alive = gone = 0.0
    for n in range(steps):
        q = (n + 0.5) / steps
        beta = q ** (p.a - 1) * (1 - q) ** (p.b - 1)
        alive += beta * (1 - q) ** x * weight(age)
        if x:
            gone += beta * q * (1 - q) ** (x - 1) * weight(recency)
    expected = alive / (alive + gone)
    found = scoring.probability_active(p, x, recency, age)
    assert found == pytest.approx(expected, rel=2e-3)
    assert math.isfinite(found)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    tables.write_tables(folder, as_of=DAY)
    return folder


def test_two_exports_of_a_day_are_the_same_bytes(export: Path, tmp_path: Path) -> None:
    tables.write_tables(tmp_path, as_of=DAY)
    for path in export.rglob("*.parquet"):
        assert path.read_bytes() == (tmp_path / path.relative_to(export)).read_bytes()


def test_a_day_changes_only_what_happened_on_it(export: Path, tmp_path: Path) -> None:
    counts = tables.write_tables(tmp_path, as_of=date(1998, 4, 2))
    first, second = customers(export), customers(tmp_path)
    assert parquet.read_table(tmp_path / "customers").num_rows == counts["customers"].rows
    assert len(second - first) == 15
    assert len(first - second) == 12


def customers(export: Path) -> set[str]:
    found = parquet.read_table(export / "customers").column("customer_id").to_pylist()
    return {key.strip() for key in found if (key or "").strip()}

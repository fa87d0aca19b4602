"""BG/NBD: how likely a customer is still active, and how many purchases are to be expected.

The model of Fader, Hardie and Lee, "Counting Your Customers the Easy Way: An Alternative to the
Pareto/NBD Model", Marketing Science 24 (2005); time is in weeks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameters:
    """The four parameters of the model."""

    r: float
    alpha: float
    a: float
    b: float


PUBLISHED = Parameters(r=0.243, alpha=4.414, a=0.793, b=2.426)
"""As published for this purchase log."""


def probability_active(p: Parameters, frequency: int, recency: float, age: float) -> float:
    """Probability that a customer will buy again.

    Args:
        p: the model.
        frequency: number of repeat purchase days.
        recency: weeks from the first purchase to the last.
        age: weeks from the first purchase to now.
    """
    return 1.0 / (1.0 + _odds_of_having_left(p, frequency, recency, age))


def expected_purchases(
    p: Parameters, frequency: int, recency: float, age: float, horizon: float
) -> float:
    """Expected number of purchases in the next `horizon` weeks; other arguments as above."""
    x = frequency
    base = p.alpha + age
    series = _hypergeometric(p.r + x, p.b + x, p.a + p.b + x - 1, horizon / (base + horizon))
    shrunk = 1 - (base / (base + horizon)) ** (p.r + x) * series
    scale = (p.a + p.b + x - 1) / (p.a - 1)
    return float(scale * shrunk / (1 + _odds_of_having_left(p, x, recency, age)))


def _odds_of_having_left(p: Parameters, frequency: int, recency: float, age: float) -> float:
    if frequency == 0:
        return 0.0
    ratio = (p.alpha + age) / (p.alpha + recency)
    return float(p.a / (p.b + frequency - 1) * ratio ** (p.r + frequency))


def _hypergeometric(a: float, b: float, c: float, z: float) -> float:
    """Gauss's 2F1 by its series, for 0 <= z < 1."""
    term = total = 1.0
    n = 0
    while term > total * 1e-15:
        term *= (a + n) * (b + n) / ((c + n) * (n + 1)) * z
        total += term
        n += 1
    return total

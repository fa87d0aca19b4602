"""Rows in: names and paths -> judged rows, keyed, timed, typed."""

from __future__ import annotations

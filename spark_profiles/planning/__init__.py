"""A definition and its tables -> all that does not fit, or a plan. Lazy: nothing is written."""

from __future__ import annotations

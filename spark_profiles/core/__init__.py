"""Pure values that every package agrees on."""

from __future__ import annotations

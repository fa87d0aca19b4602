"""The order of effects, and what they cost."""

from __future__ import annotations

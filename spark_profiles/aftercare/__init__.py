"""Questions, corrections, upkeep."""

from __future__ import annotations

"""Recorded lines -> verified import files and their manifest, on any store."""

from __future__ import annotations

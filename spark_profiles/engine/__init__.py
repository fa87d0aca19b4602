"""Spark and Sail as they are started and used here; nothing in it knows of profiles."""

from __future__ import annotations

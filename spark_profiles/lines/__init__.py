"""Wanted and delivered profiles -> the lines that are sent."""

from __future__ import annotations

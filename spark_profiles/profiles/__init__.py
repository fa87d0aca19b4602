"""Judged rows -> one nested profile a user."""

from __future__ import annotations

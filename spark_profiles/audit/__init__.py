"""What is on record: the audit tables, and what may be read from them."""

from __future__ import annotations

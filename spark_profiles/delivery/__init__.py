"""Files -> executions -> what is certain."""

from __future__ import annotations

"""The command line: the same functions as jobs and notebooks use, with words and exit codes."""

from __future__ import annotations

from spark_profiles.cli.app import app, guarded, main

# In the order of the help text, which is that of the work.
from spark_profiles.cli import define, runs, deliver, keep, trial  # isort: skip

__all__ = ["app", "define", "deliver", "guarded", "keep", "main", "runs", "trial"]

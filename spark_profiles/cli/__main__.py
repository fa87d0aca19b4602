"""`python -m spark_profiles.cli`: the command line without its script."""

from __future__ import annotations

from spark_profiles.cli import main

main()

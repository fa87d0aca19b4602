"""spark-submit jobs/maintain_audit.py --audit PLACE …: prunes, compacts, vacuums.

The arguments are those of `spark-profiles maintain`.
"""

from __future__ import annotations

import sys

from spark_profiles import cli


def main(argv: list[str]) -> int:
    """The exit code of `spark-profiles maintain` with these arguments."""
    return cli.guarded(cli.app, ["maintain", *argv])


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code:  # Databricks reports even sys.exit(0) of a task as a failure.
        sys.exit(code)

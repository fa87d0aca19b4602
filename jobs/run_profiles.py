"""spark-submit jobs/run_profiles.py DEFINITION --as-of DATE --datamart ID …: builds and delivers.

The arguments are those of `spark-profiles run`.
"""

from __future__ import annotations

import sys

from spark_profiles import cli


def main(argv: list[str]) -> int:
    """The exit code of `spark-profiles run` with these arguments."""
    return cli.guarded(cli.app, ["run", *argv])


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code:  # Databricks reports even sys.exit(0) of a task as a failure.
        sys.exit(code)

"""The application that commands join, and how it ends: one message and one exit code an error."""

from __future__ import annotations

import sys
from typing import Any

import typer
from rich.console import Console

from spark_profiles.errors import SparkProfilesError

app = typer.Typer(
    name="spark-profiles",
    help="Raw tables to confirmed user profiles: build, deliver, explain.",
    epilog=(
        "Exit codes: 0 done, 1 fault of this program, 2 wrong command line, 3 mend the definition"
        " or a setting, 4 mend the data, 5 set up the machine, 6 stopped by a limit, 7 try again"
        " later, 8 the API refused, 9 not all confirmed: run again, 10 settle a former run first,"
        " 11 counts or bytes do not add up, 130 stopped by Ctrl-C."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; every foreseen error becomes one message and its exit code."""
    raise SystemExit(guarded(app))


def guarded(command: Any, arguments: list[str] | None = None) -> int:
    """The exit code of `command`, with errors told on standard error."""
    try:
        command(arguments, standalone_mode=True)
    except SparkProfilesError as error:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(
            f"{type(error).__name__} ({error.code}): {error}"
        )
        return error.exit_code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. Run the same command again: it continues or settles.\n")
        return 130
    return 0

"""Commands to try everything on one machine: the emulator and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spark_profiles import show
from spark_profiles.cli import options
from spark_profiles.cli.app import app


@app.command()
def emulator(
    store: Annotated[Path, typer.Option(help="The SQLite file that holds the datamart.")] = Path(
        "datamart.sqlite"
    ),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one.")] = 8765,
) -> None:
    """Serve a bulk-import API on this machine, to try everything without the platform."""
    from spark_profiles.emulator import server  # noqa: PLC0415

    server.serve(store, port=port, tell=show.listening)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for all that the demo writes.")] = Path(
        "demo-output"
    ),
    engine: options.Engine = "spark",
) -> None:
    """Two days of a real shop: build, upload to the emulator, compare every profile."""
    from spark_profiles.demo import story  # noqa: PLC0415

    with show.Progress(quiet=False) as listener:
        told = story.tell(output, listener=listener, engine=engine)
    show.story(told)

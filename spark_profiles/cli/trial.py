"""Commands to try everything on one machine: the emulator and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spark_profiles import meanwhile
from spark_profiles.cli import options, show
from spark_profiles.cli.app import app


@app.command()
def emulator(
    store: Annotated[Path, typer.Option(help="The SQLite file that holds the datamart.")] = Path(
        "datamart.sqlite"
    ),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one.")] = 8765,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Something that shall go wrong, such as 'status on=upload status=429 times=3'."
            " Repeatable; docs/emulator.md lists them."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    switch: Annotated[
        list[str] | None,
        typer.Option(
            help="What the documentation leaves open, such as 'nulls=remove'. Repeatable;"
            " docs/emulator.md lists them."
        ),
    ] = None,
    execution_seconds: Annotated[
        float, typer.Option(help="How long an execution is pending, and again running.", min=0)
    ] = 0.0,
) -> None:
    """Serve a bulk-import API on this machine, to try everything without the platform."""
    from spark_profiles.emulator import behaviour, faults, server  # noqa: PLC0415

    try:
        armed = [faults.Fault.parse(text) for text in fault or ()]
        switched = behaviour.parse(switch or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    server.serve(
        store,
        port=port,
        tell=show.listening,
        behaviour=switched,
        faults=armed,
        seed=seed,
        execution_seconds=execution_seconds,
    )


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for all that the demo writes.")] = Path(
        "demo-output"
    ),
    engine: options.Engine = "spark",
) -> None:
    """Two days of a real shop: build, upload to the emulator, compare every profile."""
    from spark_profiles.demo import story  # noqa: PLC0415

    with meanwhile.Progress(quiet=False) as listener:
        told = story.tell(output, listener=listener, engine=engine)
    show.story(told, engine=engine)

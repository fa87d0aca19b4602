"""Commands about a definition: nothing is written."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from spark_profiles.cli import options, show
from spark_profiles.cli.app import app
from spark_profiles.definition.model import walk
from spark_profiles.errors import DefinitionError, Problem


@app.command()
def validate(
    definition: options.DefinitionFile,
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder of relative source paths: the tables are looked at, too.",
            show_default=False,
        ),
    ] = None,
    schema: options.SchemaFile = None,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Check a definition, and with --data also that it fits the tables. Writes nothing."""
    from spark_profiles.definition import loader  # noqa: PLC0415  the models take their time

    draft = loader.draft(definition)
    if schema and data is None:
        problem = Problem("--schema", "no --data", "the tables, which tell the types")
        message = "The schema cannot be compared with a definition alone; nothing was read"
        raise DefinitionError(message, problem)
    if data is None:
        loaded = draft.whole()
    else:
        from spark_profiles.planning import pipeline  # noqa: PLC0415  Spark only where it is needed

        loaded = pipeline.validate(
            options.spark(engine), draft, data=data, schema=options.schema(schema)
        )
    facts = {
        "definition": loaded.name,
        "definition_hash": loaded.definition_hash,
        "sources": list(loaded.sources),
        "properties": sum(1 for _ in walk(loaded.profile)),
        "checked_against_tables": data is not None,
        "checked_against_schema": schema is not None,
    }
    show.facts(facts, as_json=as_json)


@app.command("schema")
def schema_of_definitions() -> None:
    """Print the JSON Schema of definitions, for editors: completion and checks while you write."""
    from spark_profiles.definition import json_schema  # noqa: PLC0415  the models take their time

    typer.echo(json.dumps(json_schema.schema(), indent=2, ensure_ascii=False))

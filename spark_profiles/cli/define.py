"""Commands about a definition: nothing is written."""

from __future__ import annotations

import json

import typer

from spark_profiles import show
from spark_profiles.cli import options
from spark_profiles.cli.app import app
from spark_profiles.definition import walk


@app.command()
def validate(
    definition: options.DefinitionFile,
    data: options.Data = None,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Check a definition, and with --data also that it fits the tables. Writes nothing."""
    from spark_profiles import loader  # noqa: PLC0415  the models take their time

    draft = loader.draft(definition)
    if data is None:
        loaded = draft.whole()
    else:
        from spark_profiles import pipeline  # noqa: PLC0415  Spark only where it is needed

        loaded = pipeline.validate(options.spark(engine), draft, data=data)
    facts = {
        "definition": loaded.name,
        "definition_hash": loaded.definition_hash,
        "sources": list(loaded.sources),
        "properties": sum(1 for _ in walk(loaded.profile)),
        "checked_against_tables": data is not None,
    }
    show.facts(facts, as_json=as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of definitions, for editors: completion and checks while you write."""
    from spark_profiles import json_schema  # noqa: PLC0415  the models take their time

    typer.echo(json.dumps(json_schema.schema(), indent=2, ensure_ascii=False))

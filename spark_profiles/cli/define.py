"""Commands about a definition: nothing is written."""

from __future__ import annotations

from spark_profiles import loader, show
from spark_profiles.cli import options
from spark_profiles.cli.app import app


@app.command()
def validate(
    definition: options.DefinitionFile,
    data: options.Data = None,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Check a definition, and with --data also that it fits the tables. Writes nothing."""
    loaded = loader.load_definition(definition)
    if data is not None:
        from spark_profiles import pipeline  # noqa: PLC0415  Spark only where it is needed

        pipeline.plan(options.spark(engine), loaded, as_of="2000-01-01", data=data)
    facts = {
        "definition": loaded.name,
        "definition_hash": loaded.definition_hash,
        "sources": list(loaded.sources),
        "properties": sum(1 for _ in loaded.properties()),
        "checked_against_tables": data is not None,
    }
    show.facts(facts, as_json=as_json)

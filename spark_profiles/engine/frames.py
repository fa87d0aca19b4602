"""A few rows of the driver -> a DataFrame, without a Python worker."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql import types as T

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType


def of(spark: SparkSession, rows: Sequence[Sequence[Any]], schema: str) -> DataFrame:
    """The rows as a DataFrame; meant for some thousands at most.

    A classic session would hand rows of Python to a Python worker, each time the frame is used.
    Here they are one literal, which Spark SQL reads by itself.

    Args:
        spark: any session.
        rows: values in the order of the columns: text, numbers, booleans, instants with a time
            zone, None, and lists and tuples of them for arrays and structs.
        schema: the columns, as DDL.
    """
    if ".connect." in type(spark).__module__:
        return spark.createDataFrame(rows, schema)
    shape = spark.createDataFrame([], schema).schema
    if not rows:
        # Spark sees that this is empty, and plans nothing of what would be joined with it.
        none = [F.lit(None).cast(field.dataType).alias(field.name) for field in shape.fields]
        return spark.range(1).where(F.lit(False)).select(*none)
    kind = T.ArrayType(shape)
    text = json.dumps(_told(rows, kind))
    return spark.range(0, 1, 1, 1).select(F.inline(F.from_json(F.lit(text), kind)))


def _told(value: Any, kind: DataType) -> Any:
    """The value as JSON has it."""
    if value is None:
        return None
    if isinstance(kind, T.ArrayType):
        return [_told(item, kind.elementType) for item in value]
    if isinstance(kind, T.StructType):
        members = zip(kind.fields, value, strict=True)
        return {field.name: _told(member, field.dataType) for field, member in members}
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat()
    return value

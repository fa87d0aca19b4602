"""The manifest of a run: which files were written. One model, and its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME = "manifest.json"


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ManifestSource(_Model):
    """A source as the run read it."""

    name: str
    location: str
    version: int | None = None
    """Version of the table, where its format has versions."""


class ManifestFile(_Model):
    """One import file."""

    path: Annotated[str, StringConstraints(pattern=r"^operation=[^/]+/[^/]+$")]
    """Below the folder of the manifest."""
    operation: Literal["UPSERT", "DELETE"]
    lines: Count
    bytes: Count
    """Of the file as it lies on the store."""
    sha256: Sha256
    """Of the file as it lies on the store."""
    content_bytes: Count
    """Of the lines: the same as `bytes`, unless the file is compressed."""
    content_sha256: Sha256
    """Of the lines: the same lines have the same, however the file was compressed."""
    phase: Literal[1, 2] = 1
    """Files of phase 2 may be sent only when every DELETE of phase 1 is confirmed."""


class Manifest(_Model):
    """All files of one run. Only what is listed here is meant to be sent."""

    manifest_version: Literal[2] = 2
    run_id: str
    name: str
    """Name of the definition."""
    as_of: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
    definition_hash: str
    library_version: str
    sources: tuple[ManifestSource, ...] = ()
    compression: Literal["none", "gzip"] = "none"
    max_bytes: Count
    """Most bytes of the lines of one file."""
    max_lines: Count | None = None
    files: tuple[ManifestFile, ...] = ()
    """The lines of each are in the order of their addresses (see `core.addresses`), as UTF-8 bytes;
    an address occurs once in a run."""

    def text(self) -> bytes:
        """The manifest as it is written."""
        return self.model_dump_json(indent=2).encode() + b"\n"

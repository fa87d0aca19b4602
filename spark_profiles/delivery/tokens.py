"""EDGE. Where the API token is, by reference; the token itself is masked wherever it could show."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spark_profiles.errors import DefinitionError, PlatformError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

MASK = "***"


@dataclass(frozen=True)
class Secret:
    """A token that was read. Its text never shows in a repr, a message or a format."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return MASK

    def masked(self, text: str) -> str:
        """The text with every mention of the token replaced, whole or without its `api:`."""
        bare = self.value.removeprefix("api:")
        for mention in (self.value, bare if len(bare) >= 8 else ""):  # noqa: PLR2004  too short: a word
            text = text.replace(mention, MASK) if mention else text
        return text


@dataclass(frozen=True)
class Token:
    """Where the API token is. It is read when it is needed, and again when it was refused."""

    kind: str
    place: str = field(repr=False)

    @classmethod
    def parse(cls, reference: str) -> Token:
        """The reference `env:NAME`, `file:PATH`, `databricks:SCOPE/KEY` or `aws:SECRET[#MEMBER]`.

        Raises:
            DefinitionError: it is none. It may be the token itself, so it is not repeated.
        """
        kind, _, place = reference.partition(":")
        if kind not in _READERS or not place:
            problem = Problem(
                "token", "no reference (not shown)", " or ".join(_FORMS), "never the token"
            )
            message = "The token must be given by reference"
            raise DefinitionError(message, problem)
        return cls(kind, place)

    def read(self) -> Secret:
        """The whole value of the Authorization header.

        Raises:
            DefinitionError: there is none, or it cannot be the value of a header.
            PlatformError: the package that reads this kind is not installed.
        """
        try:
            value = _READERS[self.kind](self.place).strip()
        except ImportError as error:
            problem = Problem(
                f"token {self.kind}:",
                f"package {error.name} is not installed",
                remedy=f"pip install 'spark-profiles[{self.kind}]'",
            )
            message = "The token cannot be read here"
            raise PlatformError(message, problem) from None
        # What a store of secrets says in its errors is not ours to repeat.
        except Exception as error:  # noqa: BLE001
            value, found = "", f"cannot be read ({type(error).__name__})"
        else:
            found = "missing or empty"
        if value and not re.fullmatch(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*", value):
            value, found = "", "has characters that no header may have (not shown)"
        if not value:
            problem = Problem(f"token {self.kind}:{self.place}", found, "the whole token value")
            message = "There is no token"
            raise DefinitionError(message, problem)
        return Secret(value)


def _environment(name: str) -> str:
    return os.environ.get(name, "")


def _file(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _databricks(place: str) -> str:
    from databricks.sdk import WorkspaceClient  # noqa: PLC0415  optional

    scope, _, key = place.partition("/")
    return str(WorkspaceClient().dbutils.secrets.get(scope=scope, key=key))


def _aws(place: str) -> str:
    import boto3  # noqa: PLC0415  optional

    secret, _, member = place.partition("#")
    text = str(boto3.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])
    return str(json.loads(text)[member]) if member else text


_READERS: dict[str, Callable[[str], str]] = {
    "env": _environment,
    "file": _file,
    "databricks": _databricks,
    "aws": _aws,
}
_FORMS = ("env:NAME", "file:PATH", "databricks:SCOPE/KEY", "aws:SECRET[#MEMBER]")

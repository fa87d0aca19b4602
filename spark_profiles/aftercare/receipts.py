"""Identifiers -> hashes that prove, to who knows an identifier, that it was erased. No Spark."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUNDS = 200_000
_HASHES = ("sha256", "sha384", "sha512", "sha1", "md5")


@dataclass(frozen=True)
class Hasher:
    """How identifiers become hashes: with a salt, and better also with a key that is kept apart.

    Account ids are few: who has salt and hash can try them all, slowly. With a key that only the
    privacy officer has, nobody else can.
    """

    salt: str
    """Hexadecimal, of this erasure alone."""
    key: str = ""

    @property
    def method(self) -> str:
        """The method in words, for the receipt."""
        keyed = "HMAC-SHA256 with the key, then " if self.key else ""
        return f"{keyed}PBKDF2-HMAC-SHA256, {_ROUNDS} rounds, with the salt (hexadecimal)"

    def hash(self, identifier: str) -> str:
        """The hash of an identifier, as given but trimmed; an e-mail address in lower case."""
        text = normal(identifier).encode()
        if self.key:
            text = hmac.digest(self.key.encode(), text, "sha256")
        return hashlib.pbkdf2_hmac("sha256", text, bytes.fromhex(self.salt), _ROUNDS).hex()


def normal(identifier: str) -> str:
    """The identifier trimmed; an e-mail address also in lower case, as platforms hash it."""
    text = identifier.strip()
    return text.lower() if "@" in text else text


def email_hashes(address: str) -> set[str]:
    """Every hash by which a line may name an e-mail address: see `model.Identifier`."""
    texts = {address, address.strip(), address.lower(), normal(address)}
    return {hashlib.new(name, text.encode()).hexdigest() for name in _HASHES for text in texts}


def deletion_document(identifiers: Sequence[str]) -> bytes:
    """USER_POINTS_DELETION: one JSON object a line, each names one user point."""
    lines = []
    for text in identifiers:
        named = json.loads(text)
        if "email_hash" in named:
            line = {"type": "USER_EMAIL", "hash": named["email_hash"]}
        elif "user_agent_id" in named:
            line = {"type": "USER_AGENT", **named}
        else:
            line = {"type": "USER_ACCOUNT", **named}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    return "".join(lines).encode()

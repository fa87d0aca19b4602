"""How `delivered` (d) moves by the lines of a run (c): clauses of a MERGE on the address."""

from __future__ import annotations

COLUMNS = (
    "name", "address", "profile_key", "operation",
    "identifier", "payload", "payload_hash", "run_id",
)  # fmt: skip
"""What the clauses need of the lines; a run has one line an address at most."""

_INSERTED = "(name, address, profile_key, identifier, payload, payload_hash, run_id)"
_VALUES = "c.name, c.address, c.profile_key, c.identifier, c.payload, {}, c.run_id"
_DOUBTED = _VALUES.format("'in doubt'")
_CONFIRMED = _VALUES.format("c.payload_hash")
_IN_DOUBT = f"INSERT {_INSERTED} VALUES ({_DOUBTED})"

CONFIRM = f"""
    WHEN MATCHED AND c.operation = 'DELETE' THEN DELETE
    WHEN MATCHED THEN UPDATE SET
        profile_key = c.profile_key, identifier = c.identifier, payload = c.payload,
        payload_hash = c.payload_hash, run_id = c.run_id
    WHEN NOT MATCHED AND c.operation = 'UPSERT' THEN
        INSERT {_INSERTED} VALUES ({_CONFIRMED})
"""
"""The platform took the lines of `c`."""

DOUBT = f"""
    WHEN MATCHED THEN UPDATE SET
        profile_key = c.profile_key, payload_hash = 'in doubt',
        identifier = CASE WHEN c.operation = 'UPSERT' THEN c.identifier ELSE d.identifier END,
        payload = CASE WHEN c.operation = 'UPSERT' THEN c.payload ELSE d.payload END,
        run_id = CASE WHEN c.operation = 'UPSERT' THEN c.run_id ELSE d.run_id END
    WHEN NOT MATCHED AND c.operation = 'UPSERT' THEN {_IN_DOUBT}
"""
"""The platform may hold these profiles as sent, or as before. No profile has this hash, so the next
run sends each again, or deletes it. An UPSERT makes the address that of its user. A DELETE does not
make a former address the current one, so the run that brought the profile stays."""

DOUBT_KNOWN = "WHEN MATCHED THEN UPDATE SET payload_hash = 'in doubt'"
"""The platform may have lost these profiles; it has nothing new."""

FOUND = f"WHEN NOT MATCHED THEN {_IN_DOUBT}"
"""The platform may hold these profiles although nothing says so yet."""

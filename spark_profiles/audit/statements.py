"""How `delivered` (d) moves by the lines of a settled run (c): clauses of a MERGE on the key."""

from __future__ import annotations

CONFIRM = """
    WHEN MATCHED AND c.operation = 'DELETE' THEN DELETE
    WHEN MATCHED THEN UPDATE SET
        identifier = c.identifier, payload = c.payload, payload_hash = c.payload_hash,
        run_id = c.run_id
    WHEN NOT MATCHED AND c.operation = 'UPSERT' THEN INSERT
        (name, profile_key, identifier, payload, payload_hash, run_id)
        VALUES (c.name, c.profile_key, c.identifier, c.payload, c.payload_hash, c.run_id)
"""
"""The platform took the lines of `c`."""

DOUBT = """
    WHEN MATCHED THEN UPDATE SET payload_hash = 'in doubt', run_id = c.run_id
    WHEN NOT MATCHED AND c.operation = 'UPSERT' THEN INSERT
        (name, profile_key, identifier, payload, payload_hash, run_id)
        VALUES (c.name, c.profile_key, c.identifier, c.payload, 'in doubt', c.run_id)
"""
"""The platform may hold these profiles as sent, or as before. No profile has this hash, so the next
run sends each again, or deletes it."""

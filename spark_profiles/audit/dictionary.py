"""What stands in each column of the audit tables, in words; `docs/audit.md` is made of it.

`python -m spark_profiles.audit.dictionary > docs/audit.md` writes it anew.
"""

from __future__ import annotations

import sys

from spark_profiles.audit import schemas

ONE_ROW = {
    "leases": "One row is a definition: which process may run it, and until when.",
    "runs": "One row is a run.",
    "lines": "One row is a platform address whose profile differs from its delivery, and what a run"
    " does about it; a user whose address changed has two. It is written before anything is sent:"
    " files are a pure function of it.",
    "files": "One row is an import file, or a part of one, sent again to find failed lines.",
    "property_stats": "One row is a property of the profile in a run, over all wanted profiles.",
    "refused_rows": "One row is a source row that we refused.",
    "rejected_lines": "One row is a line that the platform rejected.",
    "delivered": "One row is a platform address, with the profile that was last confirmed there.",
    "erasures": "One row is an erasure of persons. Its receipt names nobody.",
    "versions": "One row is a migration of these tables.",
}

_RUN_ID = "The run: definition, day of as-of, and how many times by then."
_NAME = "Name of the definition."
_KEY = "Key of the user, as text: the key of the source named by `users`."
_IDENTIFIER = "How the line names the user point: JSON of one identifier."
_HASH = "SHA-256 of the payload."
_ADDRESS = (
    "Under which the platform stores the profile: value, kind and compartment of the identifier,"
    " `$compartment_id` and `$user_account_id`, separated by a bar; what is left out is empty."
)
_PHASE = "1, or 2: sent when every DELETE of phase 1 is confirmed. Null in older runs."

COLUMNS = {
    "leases": {
        "name": _NAME,
        "owner": "Who holds the lease, or held it last: host, process, a hash of boot and process"
        " namespace, start of the process, and a random part.",
        "until": "When it ends unless it is renewed; in the past: nobody holds it.",
    },
    "runs": {
        "run_id": _RUN_ID,
        "name": _NAME,
        "status": "Where it stands, a word of the table of states.",
        "as_of": "The instant at which all windows end.",
        "definition_hash": "SHA-256 over all of the definition that decides the output.",
        "definition": "The definition, as JSON.",
        "library_version": "Version of this library.",
        "engine": "The engine and its version.",
        "output": "Folder of its import files.",
        "sources": "Each source: where it lay, and its version where the format has one.",
        "counts": "Where the rows of each source went; rows = used + refused + duplicate + orphan"
        " + after_as_of. `newest`: newest instant of a row neither refused nor late; `users`:"
        " profiles whose first source it is.",
        "profiles": "Wanted profiles: one for each user.",
        "new": "Profiles that were not delivered before.",
        "changed": "Profiles that differ from their delivery.",
        "gone": "Profiles to delete.",
        "same": "Profiles that equal their delivery.",
        "held": "Profiles that are not sent: rejected too often, or to be removed.",
        "kept": "Profiles of users who are gone, but not for long enough to be deleted.",
        "lines": "Lines to send: new + changed + gone, without the refused ones.",
        "refused_lines": "Lines longer than a file may be; they stand in `refused_rows`.",
        "files": "Import files.",
        "bytes": "Bytes of all import files.",
        "document_import_id": "The platform's id of the document import.",
        "confirmed": "Lines that the platform took for certain.",
        "rejected": "Lines that it rejected.",
        "message": "What is to be said of it, in words.",
        "tripped": "Names of the limits that it passed.",
        "accepted": "Those of them that were accepted.",
        "accepted_by": "Who accepted them.",
        "accepted_why": "Why.",
        "started_at": "When it was first recorded.",
        "updated_at": "When this row was last written.",
        "kind": "Null: from the sources; else `rollback` or `erasure`.",
        "pruned_at": "When its lines were pruned; from then on it cannot be rolled back.",
        "unusable": "Profiles of users who are there, but refused: they stay as delivered.",
        "warnings": "How many accepted rows of a source break each rule that only warns.",
        "consents": "How many users gave a consent, refused it, or said nothing that is known.",
        "patches": "Lines that say only what changes (`strategy: minimal`).",
        "saved": "Bytes by which these lines are shorter than replacements.",
        "moved": "Profiles of users whose address changed.",
        "left_addresses": "Profiles to delete at addresses that their users left.",
        "resent": "Unchanged profiles sent again, because a DELETE of the run may remove them.",
        "replaced": "Delivered profiles at addresses that another user has now.",
    },
    "lines": {
        "run_id": _RUN_ID,
        "name": _NAME,
        "profile_key": _KEY,
        "change": "`new`, `changed`, `moved` (the user has another address now), `resent` (a DELETE"
        " of the run may remove it); deleted: `gone`, `left` (the address that a moved user left);"
        " not sent: `held`, `kept`, `unusable`, `replaced` (another user has the address now).",
        "operation": "`UPSERT` or `DELETE`; null where nothing is sent.",
        "strategy": "How an UPSERT is to be taken: `update_strategy`, or what legacy flags say.",
        "identifier": _IDENTIFIER,
        "payload": "The wanted profile as JSON text, as in the file unless there is a patch; of a"
        " DELETE its `$` keys.",
        "payload_hash": "SHA-256 of the payload; of a DELETE that of what was delivered.",
        "bytes": "Bytes of the line with its end.",
        "bucket": "Only of older versions: hash of the key, 0 to 16383, instead of a place.",
        "place": "64-bit hash of the address: with it a file knows its lines.",
        "delivered_hash": "SHA-256 of what was delivered at the address before; null if nothing.",
        "properties": "Top-level properties in which a changed profile differs, sorted.",
        "since": "As-of of the first run in which the profile was not wanted there; else null.",
        "patch": "What stands in the file instead of the payload where only changes are sent.",
        "saved": "Bytes by which the patch makes the line shorter.",
        "address": _ADDRESS,
        "phase": _PHASE,
    },
    "files": {
        "run_id": _RUN_ID,
        "file": "Its path in the run's folder; `…#11-20` are lines 11 to 20 of it, sent again.",
        "operation": "`UPSERT` or `DELETE`: a file has one.",
        "lines": "Its lines, as sent.",
        "bytes": "Its bytes, as sent.",
        "sha256": "SHA-256 of its bytes, as sent.",
        "first_bucket": "Only of older versions: its lines are those from this bucket …",
        "last_bucket": "… to this one.",
        "ranges": "Its lines are those of the run, operation and phase whose place lies in one of"
        " these.",
        "status": "`written`, `sending`, `sent`, `confirmed`, `partial` or `failed`.",
        "document_import_id": "The platform's id of the document import.",
        "execution_id": "The platform's id of the execution.",
        "total_success": "Lines taken, as the platform says.",
        "total_failure": "Lines failed, as the platform says.",
        "message": "What the platform says, or what became of the kept file.",
        "attempts": "How often it was sent.",
        "phase": _PHASE,
    },
    "property_stats": {
        "run_id": _RUN_ID,
        "name": "Dotted path of the property.",
        "profiles": "Profiles looked at.",
        "known": "Those that have it.",
        "mean": "Mean of a number.",
        "deviation": "Standard deviation of a number.",
    },
    "refused_rows": {
        "run_id": _RUN_ID,
        "source": "Name of the source in the definition.",
        "key": "Key of the user; null where the row has none, or was erased.",
        "reasons": "All reasons, sorted: names of rules, and of ours such as `key_missing`.",
        "row": "The row as it came, as JSON; null where it was erased.",
    },
    "rejected_lines": {
        "run_id": _RUN_ID,
        "name": _NAME,
        "file": "File, or part of one.",
        "line_number": "Line in it, counted from 1; null where the platform does not say.",
        "profile_key": f"{_KEY} Null where only the error file speaks of it.",
        "payload": "What was rejected.",
        "payload_hash": _HASH,
        "message": "What the platform says.",
        "address": f"{_ADDRESS} Null where only the error file speaks of it.",
        "operation": "`UPSERT` or `DELETE`; null where only the error file speaks of it.",
    },
    "delivered": {
        "name": _NAME,
        "profile_key": _KEY,
        "identifier": _IDENTIFIER,
        "payload": "The profile as JSON text, as the platform holds it.",
        "payload_hash": _HASH,
        "run_id": "The run that delivered it.",
        "address": _ADDRESS,
    },
    "erasures": {
        "run_id": "The erasure: `erasure-` and its number.",
        "status": "`requested`, `sent` (the DELETE is confirmed) or `erased`.",
        "receipt": "Salted hashes of the identifiers, and counts of what was found, as JSON.",
        "pending": "While it is not done: all names of the persons, as JSON; then null.",
        "requested_at": "When it was recorded.",
        "erased_at": "When the persons were gone from tables and kept files.",
        "vacuumed_at": "When the files of former table versions were gone as well.",
    },
    "versions": {
        "schema_version": "Version of the tables from then on.",
        "library_version": "Version of this library that migrated them.",
        "migrated_at": "When.",
    },
}

# Columns with values of persons: an erasure looks at each, `explain` hides them unless asked.
PERSONAL = {
    "lines": ("profile_key", "identifier", "payload", "patch", "address"),
    "refused_rows": ("key", "row"),
    "rejected_lines": ("profile_key", "payload", "message", "address"),
    "delivered": ("profile_key", "identifier", "payload", "address"),
    "erasures": ("pending",),
    "files": ("message",),
}


def markdown() -> str:
    """The page `docs/audit.md`."""
    parts = [
        "# Audit tables",
        "Made by `python -m spark_profiles.audit.dictionary`; do not edit it by hand.",
        "Delta tables without features that need a new reader. Instants are UTC. Columns marked"
        " **P** hold values of persons. What is `not null` or checked is a CHECK constraint: no"
        " writer gets past it. Tables of older versions get the same when they are migrated.",
    ]
    for table, columns in COLUMNS.items():
        head = f"## {table}\n\n{ONE_ROW[table]} Partitioned by `{schemas.PARTITIONED_BY[table]}`."
        types = dict(schemas.columns(table))
        rows = [
            f"| `{name}`{' **P**' if name in PERSONAL.get(table, ()) else ''}"
            f" | {types[name].partition('<')[0]}"
            f"{', not null' if name in schemas.NOT_NULL[table] else ''} | {text} |"
            for name, text in columns.items()
        ]
        checks = [f"`{c}`" for name, c in schemas.CHECKS[table].items() if name != "keys"]
        head += f" Checked: {'; '.join(checks)}." if checks else ""
        parts.append(
            "\n".join([head, "", "| column | type | what it is |", "| --- | --- | --- |", *rows])
        )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())

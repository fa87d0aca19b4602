"""The words about the audit tables are complete, and the page is what the words make."""

from __future__ import annotations

from pathlib import Path

from spark_profiles.audit import dictionary, schemas

PAGE = Path(__file__).parent.parent / "docs" / "audit.md"


def test_every_column_has_its_sentence_in_the_order_of_the_schema() -> None:
    assert list(dictionary.COLUMNS) == list(schemas.TABLES) == list(dictionary.ONE_ROW)
    for table, columns in dictionary.COLUMNS.items():
        assert list(columns) == [name for name, _ in schemas.columns(table)]
        assert all(text.endswith((".", "…")) for text in columns.values())


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == dictionary.markdown(), (
        "write it anew: python -m spark_profiles.audit.dictionary > docs/audit.md"
    )


def test_whatever_names_a_person_is_marked() -> None:
    for table, columns in dictionary.COLUMNS.items():
        named = {
            "profile_key",
            "identifier",
            "payload",
            "patch",
            "key",
            "row",
            "pending",
        } & columns.keys()
        assert named <= set(dictionary.PERSONAL.get(table, ())), table

"""Placeholders: `?` in our statements, `$n` in PostgreSQL's."""

from __future__ import annotations

import pytest

from mission_system.core.storage.postgres.statements import numbered


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("SELECT ?, ? + ?", "SELECT $1, $2 + $3"),
        ("SELECT '?' WHERE a = ?", "SELECT '?' WHERE a = $1"),
        ("SELECT 'it''s ?', ?", "SELECT 'it''s ?', $1"),
        ('SELECT "a?" FROM t WHERE "b""?" = ?', 'SELECT "a?" FROM t WHERE "b""?" = $1'),
        ("SELECT '\"', ?, '\"'", "SELECT '\"', $1, '\"'"),
        ("SELECT 1", "SELECT 1"),
    ],
)
def test_placeholders_are_numbered_and_quoted_text_is_left_alone(ours: str, theirs: str) -> None:
    assert numbered(ours) == theirs


def test_statement_is_translated_once() -> None:
    assert numbered("SELECT ? AS once") is numbered("SELECT ? AS once")

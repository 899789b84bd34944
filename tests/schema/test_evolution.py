"""The schema evolves without surprises: what breaks clients is announced, what goes is dated."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import GraphQLError
from graphql import build_schema as graphql_schema

from mission_system.schema.build import MissionSchema, sdl
from mission_system.schema.evolution import (
    breaks,
    is_released,
    unannounced,
    undated_deprecations,
)

ROOT = Path(__file__).parents[2]
BASELINE = ROOT / "docs" / "schema-baseline.graphql"


def test_every_breaking_change_since_the_baseline_is_announced() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    found = unannounced(breaks(BASELINE.read_text("utf-8"), sdl()), changelog)
    way_out = (
        "Announce each in CHANGELOG.md, in the newest part, under '### Breaking':"
        f" {', '.join(f'`{change.thing}`' for change in found)}."
    )
    if not is_released(changelog):
        way_out += (
            " Nothing was released yet, so nobody was promised anything: or take the schema of now"
            f" as the baseline: cp schema.graphql {BASELINE.relative_to(ROOT)}"
        )
    assert found == [], way_out


def test_every_deprecation_says_since_when(schema: MissionSchema) -> None:
    assert list(undated_deprecations(schema._schema)) == []


OLD = """
directive @cached(seconds: Int, by: Int) repeatable on FIELD | QUERY
type Query { a(first: Int): Int b: String c: Thing d: Either e(f: In): Kind }
type Thing { title: String gone: Int }
type Other { x: Int }
union Either = Thing | Other
enum Kind { ONE TWO }
input In { x: Int }
"""


@pytest.mark.parametrize(
    ("was", "is_now", "thing"),
    [
        ("gone: Int", "", "Thing.gone"),
        ("title: String", "title: Int", "Thing.title"),
        ("first: Int", "first: Int, last: Int!", "Query.a(last:)"),
        ("(first: Int)", "", "Query.a(first:)"),
        ("first: Int", "first: String", "Query.a(first:)"),
        ("| Other", "", "Either"),
        ("TWO", "", "Kind.TWO"),
        ("x: Int }\nunion", "x: String }\nunion", "Other.x"),
        ("input In { x: Int }", "input In { x: Int y: Int! }", "In.y"),
        ("directive @cached(seconds: Int, by: Int) repeatable on FIELD | QUERY", "", "@cached"),
        (" repeatable", "", "@cached"),
        ("FIELD | QUERY", "FIELD", "@cached"),
        (", by: Int", "", "@cached(by:)"),
        (", by: Int", ", by: Int, at: Int!", "@cached(at:)"),
        ("union Either = Thing | Other", "interface Either { x: Int }", "Either"),
    ],
)
def test_a_breaking_change_is_found_and_named(was: str, is_now: str, thing: str) -> None:
    assert was in OLD
    assert thing in [change.thing for change in breaks(OLD, OLD.replace(was, is_now))]


def test_what_only_adds_breaks_nothing() -> None:
    new = OLD.replace("gone: Int", "gone: Int new: Int").replace("b: String", "b: String!")
    assert breaks(OLD, new) == []
    assert breaks(sdl(), sdl()) == []


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(GraphQLError):
        breaks("type {", OLD)


CHANGELOG = """# Changelog

## Unreleased

### Added

- `Thing.title` is new.

### Breaking

- `Thing.gone` is gone; ask for `Thing.title`.

## 0.1.0

### Breaking

- `Query.b`
"""


def test_only_the_newest_part_announces_and_only_as_breaking() -> None:
    new = OLD.replace("gone: Int", "").replace("b: String", "")
    left = unannounced(breaks(OLD, new), CHANGELOG)
    assert [change.thing for change in left] == ["Query.b"]
    assert "Query.b" in left[0].description
    assert len(unannounced(breaks(OLD, new), "# Changelog\n")) == 2


def test_a_changelog_of_unreleased_things_tells_of_no_release() -> None:
    assert is_released(CHANGELOG)
    assert not is_released(CHANGELOG.partition("## 0.1.0")[0])


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("type Query {{ a: Int {} }}", "Query.a"),
        ("type Query {{ a(b: Int {}): Int }}", "Query.a(b)"),
        ("type Query {{ a: E }} enum E {{ A {} }}", "E.A"),
        ("type Query {{ a(b: I): Int }} input I {{ x: Int {} }}", "I.x"),
        ("interface N {{ x: Int {} }} type Query implements N {{ x: Int }}", "N.x"),
    ],
)
def test_a_deprecation_without_a_date_is_found(part: str, name: str) -> None:
    def undated(reason: str) -> list[str]:
        sdl = part.format(f'@deprecated(reason: "{reason}")')
        return list(undated_deprecations(graphql_schema(sdl)))

    assert undated("Use b; removed after 2027-06-30.") == []
    for reason in ("Use b.", "Use b, by 2027-13-01."):
        assert undated(reason) == [f"{name}: {reason}"]

"""The GraphiQL page: works offline, under a strict policy, with operations that fit the schema."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from mission_system.schema.build import sdl

PAGE = Path(__file__).parents[2] / "schema" / "static" / "graphiql"
OPERATIONS = {path.stem: path for path in (PAGE / "operations").iterdir()}
OWN = ("index.html", "boot.js", "page.css")


def test_every_tab_has_an_operation_and_every_operation_a_tab() -> None:
    boot = (PAGE / "boot.js").read_text("utf-8")
    [tabs] = re.findall(r"const TABS = \[(.*?)\]", boot, re.DOTALL)
    assert sorted(re.findall(r'"([^"]+)"', tabs)) == sorted(OPERATIONS)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_example_operation_fits_the_schema(name: str) -> None:
    document = parse(OPERATIONS[name].read_text("utf-8"))
    assert validate(build_schema(sdl()), document) == []


def test_the_page_loads_its_own_files_only() -> None:
    index = (PAGE / "index.html").read_text("utf-8")
    linked = set(re.findall(r'(?:src|href)="([^"]+)"', index)) - {"data:,"}
    assert linked
    for link in linked:
        assert (PAGE.parent.parent / link).is_file(), link
    for name in OWN:
        assert "//" not in re.sub(r"(?m)^\s*//.*", "", (PAGE / name).read_text("utf-8")), name


def test_the_page_needs_no_inline_script_and_no_inline_style() -> None:
    index = (PAGE / "index.html").read_text("utf-8")
    assert re.findall(r"<script[^>]*>([^<]+)</script>", index) == []
    assert "<style" not in index
    assert re.findall(r"\s(?:style|on\w+)=", index) == []


def test_vendored_files_are_what_the_table_says() -> None:
    table = (PAGE / "VENDORED.md").read_text("utf-8")
    rows: list[tuple[str, str]] = re.findall(r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", table, re.M)
    vendored = {path for path in PAGE.iterdir() if path.name.endswith((".min.js", ".min.css"))}
    assert dict(rows) == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in vendored
    }

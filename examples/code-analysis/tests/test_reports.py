"""Reports: the one thing that is written, under a safe name, after the user said yes."""

from __future__ import annotations

from pathlib import Path

import pytest
from mission_code_analysis.source.reports import write_report
from mission_code_analysis.stages.integration import file_name

from mission_system import InvalidInput

from .conftest import MakeTree, Server


async def test_a_report_is_written_once_the_user_agrees(server: Server) -> None:
    asked = await server.ask("Write a report on who uses Stock")
    assert asked.process.pending is not None
    assert asked.process.pending.kind == "confirmation"
    assert not (server.root / ".mission-reports").exists()
    answer = await server.reply(asked, "yes")
    assert answer.data["report"] == ".mission-reports/who-uses-stock.md"
    written = (server.root / answer.data["report"]).read_text()
    assert written.startswith("# who uses Stock\n\n`Stock` is used on")
    assert written.removeprefix("# who uses Stock\n\n").strip() in answer.text


async def test_a_declined_report_is_not_written_and_its_text_is_given_all_the_same(
    server: Server,
) -> None:
    answer = await server.reply(await server.ask("Write a report on who uses Stock"), "no")
    assert "no report was written" in answer.text
    assert "shop/orders.py:3" in answer.places
    assert "report" not in answer.data
    assert not (server.root / ".mission-reports").exists()


async def test_a_report_that_cannot_be_written_says_why(server: Server, tmp_path: Path) -> None:
    (server.root / ".mission-reports").symlink_to(tmp_path)
    answer = await server.reply(await server.ask("Write a report on who uses Stock"), "yes")
    assert "could not be written" in answer.text
    assert "leads out of the source tree" in answer.text
    assert "report" not in answer.data


async def test_reports_are_no_evidence_for_later_answers(server: Server) -> None:
    await server.reply(await server.ask("Write a report on who uses Stock"), "yes")
    answer = await server.ask("Who uses Stock?")
    assert not [place for place in answer.places if "mission-reports" in place]


def test_nothing_is_overwritten(make_tree: MakeTree) -> None:
    tree = make_tree({})
    paths = [write_report(tree, "plan", text).path for text in ("one", "two", "three")]
    assert paths == [f".mission-reports/{name}.md" for name in ("plan", "plan-2", "plan-3")]
    assert [(tree.root / path).read_text() for path in paths] == ["one", "two", "three"]


def test_a_symlink_in_the_reports_folder_is_not_written_through(
    make_tree: MakeTree, tmp_path: Path
) -> None:
    tree = make_tree({".mission-reports/kept.md": ""})
    (tree.root / ".mission-reports/plan.md").symlink_to(tmp_path / "new.md")
    assert write_report(tree, "plan", "text").path == ".mission-reports/plan-2.md"
    assert not (tmp_path / "new.md").exists()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "/etc/x", ".hidden", "a.md", "a b", "A", "ä", "x" * 81],
)
def test_unsafe_names_are_refused(make_tree: MakeTree, name: str) -> None:
    tree = make_tree({})
    with pytest.raises(InvalidInput, match="name"):
        write_report(tree, name, "text")
    assert not (tree.root / ".mission-reports").exists()


def test_a_reports_folder_may_not_be_a_way_out(make_tree: MakeTree, tmp_path: Path) -> None:
    for reports in ("../out", ".mission-reports/../../out"):
        with pytest.raises(InvalidInput, match="MISSION_CODE_ANALYSIS_REPORTS"):
            write_report(make_tree({}, reports=reports), "plan", "text")
    assert not (tmp_path / "out").exists()


def test_an_absolute_reports_folder_is_the_operator_s_choice(
    make_tree: MakeTree, tmp_path: Path
) -> None:
    report = write_report(make_tree({}, reports=tmp_path / "out"), "plan", "text")
    assert Path(report.path).read_text() == "text"


def test_a_report_has_a_limit(make_tree: MakeTree) -> None:
    tree = make_tree({}, max_report_chars=10)
    with pytest.raises(InvalidInput, match="longer than 10"):
        write_report(tree, "plan", "x" * 11)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("who uses `Stock`?", "who-uses-stock"),
        ("../../etc/passwd", "etc-passwd"),
        ("  Ärger mit Umlauten ", "rger-mit-umlauten"),
        ("日本語", "report"),
        ("x" * 500, "x" * 60),
    ],
)
def test_every_topic_gives_a_safe_name(make_tree: MakeTree, topic: str, name: str) -> None:
    assert file_name(topic) == name
    write_report(make_tree({}), file_name(topic), "text")

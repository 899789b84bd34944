"""Questions to a real node. `Server` reads every citation of every answer again."""

from __future__ import annotations

from pathlib import Path

import pytest

import mission_system.core
from mission_system.core.tower.process import ProcessState

from .conftest import Git, Serve, Server, write


async def test_a_definition_is_cited_with_its_line_and_its_documentation(server: Server) -> None:
    answer = await server.ask("Where is Order defined?")
    assert "`Order` is a class" in answer.text
    assert answer.data["citations"][0] == {
        "path": "shop/orders.py",
        "line": 8,
        "text": "class Order:",
    }
    assert "shop/orders.py:9" in answer.places


async def test_one_question_may_ask_for_the_definition_and_the_uses(server: Server) -> None:
    answer = await server.ask("Where is Order defined and who uses it?")
    assert {"shop/orders.py:8", "tests/test_orders.py:1", "tests/test_orders.py:6"} == set(
        answer.places
    ) - {"shop/orders.py:9"}
    assert "tests/test_orders.py:6 in test_an_order_takes_from_the_stock" in answer.text


async def test_uses_leave_out_the_definition_and_mentions_in_comments(server: Server) -> None:
    answer = await server.ask("Who uses Stock?")
    used = {place for place in answer.places if place.startswith("shop/stock.py")}
    assert used == {"shop/stock.py:10"}  # the annotation; not the class, not the docstring


async def test_users_of_a_module_are_those_who_import_it(server: Server) -> None:
    answer = await server.ask("Who imports shop/stock.py?")
    assert {"shop/orders.py:3", "tests/test_orders.py:2"} <= set(answer.places)


async def test_a_module_is_not_taken_for_what_else_has_its_name(server: Server) -> None:
    answer = await server.ask("Who imports shop/stock.py?")
    assert not any("stock: Stock" in each["text"] for each in answer.data["citations"])


async def test_an_unknown_name_is_said_to_be_unknown_with_the_nearest_ones(server: Server) -> None:
    answer = await server.ask("Where is `Ordr` defined?")
    assert "`Ordr` was not found" in answer.text
    assert "`Order`" in answer.text
    assert answer.places == []


async def test_the_contents_of_a_file_are_its_documentation_and_outline(server: Server) -> None:
    answer = await server.ask("What does shop/orders.py contain?")
    assert "has 22 lines" in answer.text
    assert "1 variable, 1 class" in answer.text
    assert {"shop/orders.py:1", "shop/orders.py:5", "shop/orders.py:8"} <= set(answer.places)


async def test_a_file_may_be_named_by_its_end(server: Server) -> None:
    answer = await server.ask("What is in stock.py?")
    assert answer.text.startswith("`shop/stock.py` has")


async def test_the_contents_of_a_folder_are_its_files_and_what_they_are_for(
    server: Server,
) -> None:
    answer = await server.ask("What is in shop/?")
    assert "`shop/` has 3 files" in answer.text
    assert "shop/orders.py:1 `Orders: what was bought, and for how much.`" in answer.text
    assert "- shop/__init__.py" in answer.text


async def test_a_file_that_is_not_there_is_said_not_to_be(server: Server) -> None:
    answer = await server.ask("What does shop/prices.py contain?")
    assert "no file or folder `shop/prices.py`" in answer.text


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", ".git/config"])
async def test_what_lies_outside_is_not_shown(server: Server, path: str) -> None:
    answer = await server.ask(f"What does `{path}` contain?")
    assert answer.places == []
    assert "secret of the neighbour" not in answer.text


async def test_history_comes_from_git(server: Server, git: Git) -> None:
    commit_all(git, server.root, "Open the shop")
    answer = await server.ask("Show the history of README.md")
    assert "`Open the shop` by Ann" in answer.text


async def test_history_outside_a_repository_says_so(server: Server, git: Git) -> None:
    answer = await server.ask("Show the history of README.md")
    assert "not in a git repository" in answer.text


async def test_history_of_a_name_is_that_of_its_file(server: Server, git: Git) -> None:
    commit_all(git, server.root, "Open the shop")
    answer = await server.ask("Show the history of the class Order")
    assert "history of `shop/orders.py`" in answer.text


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            "How many files are there?",
            "There are 6 files in the whole tree: 4 .py, 1 .md, 1 .toml.",
        ),
        ("How many Python files are there?", "There are 4 python files in the whole tree."),
        ("How many Python files are in shop/?", "There are 3 python files in `shop/`."),
        ("How many Python files are in shop?", "There are 3 python files in `shop/`."),
        ("How many Python files are in the Shop folder?", "There are 3 python files in `shop/`."),
        ("How many files are in `shop` and tests?", "There are 3 files in `shop/`."),
        ("How many files are in `shop` and tests?", "There is 1 file in `tests/`."),
        ("How many files are in shop_data?", "There is 1 file in `shop_data/`."),
        ("Number of classes in shop", "There are 2 classes in `shop/`"),
        ("How many tests of shop?", "There are no test functions in `shop/`"),
        ("How many files are under core?", "There is no folder `core/` here, or it is not shown."),
        ("How many files are under core?", "There are 6 files in the whole tree"),
        ("How many files are in this project in total?", "There are 6 files in the whole tree"),
        ("How many times is take used?", "on 3 lines in 2 files in the whole tree"),
        ("How many files are in README.md?", "There is 1 file in `README.md`."),
        ("How many classes are in shop/?", "There are 2 classes in `shop/`"),
        ("How many functions are in stock.py?", "There are 2 functions in `shop/stock.py`"),
        ("How many lines does stock.py have?", "`shop/stock.py` has 16 lines."),
        ("How many lines are there?", "name the file"),
        ("How many classes are in lost.py?", "There is no file or folder `lost.py` here"),
        ("How many tests are there?", "There is 1 test function in the whole tree, in 1 file."),
        ("How many lines does README.md have?", "`README.md` has 5 lines."),
        ("How many times is take used?", "`take` stands on 3 lines in 2 files"),
        ('How many times does "an hour" occur?', "`an hour` stands on 1 line in 1 file"),
        ("How many times is `take` used?", "`take` stands on 3 lines in 2 files"),
    ],
)
async def test_things_are_counted(server: Server, question: str, expected: str) -> None:
    if "shop_data" in question:
        write(server.root, {"shop_data/tea.csv": "1\n"})
    answer = await server.ask(question)
    assert expected in answer.text
    assert ("no folder" in answer.text) == ("core" in question)


async def test_an_overview_names_the_folders_and_quotes_the_readme(server: Server) -> None:
    answer = await server.ask("Give me an overview of this project")
    assert "`shop` (3)" in answer.text
    assert {"README.md:1", "README.md:3", "pyproject.toml:2"} <= set(answer.places)


async def test_an_open_question_is_searched_for_and_the_best_lines_are_cited(
    server: Server,
) -> None:
    answer = await server.ask("How do reservations work?")
    assert {"shop/stock.py:5", "shop/stock.py:11"} <= set(answer.places)


async def test_a_name_is_explained_with_its_members(server: Server) -> None:
    answer = await server.ask("What is Order?")
    assert "shop/orders.py:15" in answer.places  # Order.add


async def test_a_question_about_nothing_says_what_can_be_asked(server: Server) -> None:
    answer = await server.ask("What is it?")
    assert "Name what the question is about" in answer.text


async def test_it_is_what_the_session_spoke_of_before(server: Server) -> None:
    first = await server.ask("Where is `take` defined?")
    second = await server.ask("Who uses it?", session_id=first.process.session_id)
    assert "shop/orders.py:17" in second.places


async def test_an_edit_shows_in_the_next_answer(server: Server) -> None:
    before = await server.ask("Where is Stock defined?")
    assert before.places[0] == "shop/stock.py:4"
    source = (server.root / "shop/stock.py").read_text()
    (server.root / "shop/stock.py").write_text(f"\n\n{source}")
    after = await server.ask("Where is Stock defined?")
    assert after.places[0] == "shop/stock.py:6"


async def test_the_same_question_has_the_same_answer(server: Server) -> None:
    first, second = [await server.ask("Who uses Stock?") for _ in range(2)]
    assert first.text == second.text
    assert first.data == second.data


async def test_an_answer_from_a_part_of_the_tree_says_so(
    serve: Serve, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISSION_CODE_ANALYSIS_MAX_FILES", "2")
    server = await serve(shop)
    for question in ("Where is Stock defined?", "How many classes are there?", "overview"):
        answer = await server.ask(question)
        assert "Not all of the source tree was looked at: stopped after 2 files" in answer.text


async def test_every_stage_is_entered_and_the_quota_is_far(server: Server) -> None:
    answer = await server.ask("Where is Order defined and who uses it?")
    assert answer.process.state is ProcessState.TERMINATED
    assert answer.process.usage.agent_hops == 7
    assert answer.process.usage.tool_calls < answer.process.quota.max_tool_calls / 2


@pytest.mark.parametrize(
    "message", ["?", "`", "'''", "a" * 5000, "where is ` defined", "\x07 what", "💥 //", "..", "/"]
)
async def test_odd_messages_get_an_answer(server: Server, message: str) -> None:
    assert (await server.ask(message)).text


async def test_real_questions_about_the_platform_s_own_core(serve: Serve) -> None:
    core = Path(mission_system.core.__path__[0])
    server = await serve(core)
    tower = await server.ask("Where is ControlTower defined and who uses it?")
    assert tower.places[0].startswith("tower/control_tower.py:")
    assert any(place.startswith("node.py:") for place in tower.places)
    errors = await server.ask("What does errors.py contain?")
    assert "class NotFound(MissionError):" in errors.text
    caller = await server.ask("Who uses Caller?")
    assert any(place.startswith("chat/service.py:") for place in caller.places)
    lease = await server.ask("How does the lease work?")
    assert lease.places[0] == "storage/lease.py:1"


def commit_all(git: Git, root: Path, subject: str) -> None:
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", subject)

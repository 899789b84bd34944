"""A name with several definitions: the process waits for an answer, and takes many forms of it."""

from __future__ import annotations

import pytest
from mission_code_analysis.stages.choice import choose

from mission_system.core.tower.process import ProcessState

from .conftest import Server

OPTIONS = (
    "shop/orders.py:21 function answer",
    "shop/stock.py:15 function answer",
    "web/stock.py:3 method View.answer",
)


async def test_a_name_with_two_definitions_is_asked_about(server: Server) -> None:
    asked = await server.ask("Where is `answer` defined?")
    assert asked.process.state is ProcessState.WAITING
    assert "`answer` is defined in 2 places" in asked.question
    assert asked.options == OPTIONS[:2]
    # Whoever shows the question lists the options: a list in its text would be there twice.
    assert asked.question.endswith("Answer with a number, a path, a name or `all`.")
    assert not any(option in asked.question for option in asked.options)


@pytest.mark.parametrize("text", ["2", "shop/stock.py", "shop/stock.py:15 function answer"])
async def test_an_answer_settles_what_is_meant(server: Server, text: str) -> None:
    asked = await server.ask("Where is `answer` defined?")
    answer = await server.reply(asked, text)
    assert answer.places == ["shop/stock.py:15"]


async def test_an_unclear_answer_is_asked_about_once_more_and_then_all_are_shown(
    server: Server,
) -> None:
    asked = await server.ask("Where is `answer` defined?")
    again = await server.reply(asked, "the good one")
    assert again.process.state is ProcessState.WAITING
    assert "not clear" in again.question
    answer = await server.reply(again, "I do not know")
    assert answer.places == ["shop/orders.py:21", "shop/stock.py:15"]


async def test_a_second_answer_may_be_clear(server: Server) -> None:
    again = await server.reply(await server.ask("Where is `answer` defined?"), "7")
    assert (await server.reply(again, "1")).places == ["shop/orders.py:21"]


@pytest.mark.parametrize(
    "question", ["Where is stock.answer defined?", "Where is `answer` in shop/stock.py defined?"]
)
async def test_a_question_that_says_which_is_not_asked_about(server: Server, question: str) -> None:
    assert (await server.ask(question)).places == ["shop/stock.py:15"]


async def test_the_kind_that_is_named_decides(server: Server) -> None:
    (server.root / "shop/more.py").write_text("class take:\n    pass\n")
    assert (await server.ask("Where is the class take defined?")).places == ["shop/more.py:1"]
    assert (await server.ask("Where is the function take defined?")).places == ["shop/stock.py:10"]


async def test_uses_are_those_of_the_definition_that_is_meant(server: Server) -> None:
    (server.root / "shop/till.py").write_text("from .stock import answer\n\nprint(answer())\n")
    asked = await server.ask("Who uses `answer`?")
    assert "shop/till.py:3" in (await server.reply(asked, "shop/stock.py")).places
    asked = await server.ask("Who uses `answer`?")
    assert "No use of `answer`" in (await server.reply(asked, "shop/orders.py")).text


async def test_a_file_name_that_fits_several_is_asked_about(server: Server) -> None:
    (server.root / "web").mkdir()
    (server.root / "web/stock.py").write_text("shelf = 1\n")
    asked = await server.ask("What does stock.py contain?")
    assert asked.options == ("shop/stock.py", "web/stock.py")
    assert "`web/stock.py` has 1 line." in (await server.reply(asked, "2")).text


async def test_overloads_in_one_file_are_one_thing(server: Server) -> None:
    (server.root / "shop/till.py").write_text(
        "class Till:\n    @property\n    def total(self) -> int: ...\n"
        "    @total.setter\n    def total(self, value: int) -> None: ...\n"
    )
    answer = await server.ask("Where is `total` defined?")
    assert answer.places == ["shop/till.py:3", "shop/till.py:5"]


async def test_more_definitions_than_fit_a_list_can_still_be_chosen_by_path(
    server: Server,
) -> None:
    for number in range(12):
        (server.root / f"shop/m{number:02}.py").write_text("def answer() -> None: ...\n")
    asked = await server.ask("Where is `answer` defined?")
    assert len(asked.options) == 9
    assert "defined in 14 places" in asked.question
    assert "(5 more are not listed" in asked.question
    assert (await server.reply(asked, "m11.py")).places == ["shop/m11.py:1"]


async def test_a_path_in_a_question_is_not_taken_for_the_end_of_another_name(
    server: Server,
) -> None:
    (server.root / "shop/livestock.py").write_text("def answer() -> None: ...\n")
    answer = await server.ask("Where is `answer` in stock.py defined?")
    assert answer.places == ["shop/stock.py:15"]


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("1", [0]),
        (" #2. ", [1]),
        ("number 3", [2]),
        ("SHOP/STOCK.PY:15 function answer", [1]),
        ("`shop/stock.py`", [1]),
        ("shop/stock.py:15", [1]),
        ("orders.py", [0]),
        ("stock.py", [1, 2]),
        ("View.answer", [2]),
        ("I mean the one in shop/orders.py please", [0]),
        ("the method", [2]),
        ("both", [0, 1, 2]),
        ("all", [0, 1, 2]),
        ("0", []),
        ("4", []),
        ("99999999999999999999", []),
        ("answer", [0, 1]),
        ("whichever you like", []),
        ("...", []),
        ("/", []),
    ],
)
def test_an_answer_may_be_a_number_an_option_a_path_or_what_tells_them_apart(
    answer: str, chosen: list[int]
) -> None:
    assert choose(answer, OPTIONS) == chosen

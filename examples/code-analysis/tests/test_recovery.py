"""A question that waits survives a restart; what is looked up afterwards is the present state."""

from __future__ import annotations

from pathlib import Path

from .conftest import Serve


async def test_a_number_means_the_option_that_was_shown_before_the_restart(
    serve: Serve, shop: Path
) -> None:
    asked = await (await serve(shop)).ask("Where is `answer` defined?")
    (shop / "shop/bills.py").write_text("def answer() -> None: ...\n")
    answer = await (await serve(shop)).reply(asked, "1")
    assert answer.places == ["shop/orders.py:21"]
    assert answer.process.usage.tool_calls == 3


async def test_lines_that_moved_while_it_waited_are_corrected(serve: Serve, shop: Path) -> None:
    asked = await (await serve(shop)).ask("Where is `answer` defined?")
    orders = shop / "shop/orders.py"
    orders.write_text("# one more\n# and another\n" + orders.read_text())
    answer = await (await serve(shop)).reply(asked, "1")
    assert answer.places == ["shop/orders.py:23"]
    assert "shop/orders.py:23 `def answer(question: str) -> str:`" in answer.text


async def test_lines_that_went_while_it_waited_are_not_cited(serve: Serve, shop: Path) -> None:
    asked = await (await serve(shop)).ask("Where is `answer` defined?")
    (shop / "shop/orders.py").unlink()
    answer = await (await serve(shop)).reply(asked, "1")
    assert answer.places == []
    assert "1 citation could not be confirmed and was taken out" in answer.text

"""Questions: they cost nothing while they wait, and are answered exactly once."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import Conflict, InvalidInput, NotFound
from mission_system.core.identity import Caller
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.interrupts import InterruptExpired
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import InterruptKind, Outcome, ProcessState


async def asks(mission: Mission) -> str:
    colour = await mission.clarify("Which colour?", options=["red", "blue"])
    sure = await mission.confirm(f"Really {colour}?")
    return f"{colour}: {sure}"


async def test_question_suspends_and_answers_resume(start_node, send, ann) -> None:
    node = await start_node(asks)
    process = await send(node)
    assert process.state is ProcessState.WAITING
    question = process.pending
    assert (question.kind, question.question) == (InterruptKind.CLARIFICATION, "Which colour?")
    assert question.options == ("red", "blue")
    assert (question.expires_at - question.created_at).total_seconds() == 24 * 3600
    process = await node.tower.resume_request(ann, question.id, "green", wait=10)
    assert process.pending.question == "Really green?"
    process = await node.tower.resume_request(ann, process.pending.id, "YES", wait=10)
    assert (process.outcome, process.reply) == (Outcome.COMPLETED, "green: True")
    messages = (await node.chat.list_messages(ann, process.session_id)).items
    assert [(m.role, m.content) for m in messages] == [
        ("user", "hi"),
        ("assistant", "Which colour?"),
        ("user", "green"),
        ("assistant", "Really green?"),
        ("assistant", "green: True"),
    ]


async def test_waiting_process_holds_no_task_no_slot_no_lane_and_no_memory(
    start_node, send, ann
) -> None:
    async def maybe_asks(mission: Mission) -> str:
        return await mission.clarify("?") if mission.message == "ask" else "ok"

    node = await start_node(maybe_asks, running_slots=1)
    process = await send(node, "ask")
    while node.tower.depth != (0, 0):
        await asyncio.sleep(0)
    assert not [t for t in asyncio.all_tasks() if t.get_name() == f"process-{process.pid}"]
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Mission)]
    assert (await send(node, "next", session_id=process.session_id)).reply == "ok"


async def test_answer_after_a_restart_resumes_by_replay(start_node, send, ann) -> None:
    called: list[str] = []

    async def work(mission: Mission) -> str:
        first = await mission.step("before", effect, "before")
        answer = await mission.clarify("?")
        return f"{first} {answer} " + await mission.step("after", effect, "after")

    async def effect(name: str) -> str:
        called.append(name)
        return name

    node = await start_node(work)
    process = await send(node)
    await node.stop()
    again = await start_node(work)
    assert [i.id for i in await again.tower.pending_interrupts(ann)] == [process.pending.id]
    process = await again.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reply == "before yes after"
    assert called == ["before", "after"]


async def test_concurrent_answers_count_once(start_node, send, ann) -> None:
    node = await start_node(asks)
    question = (await send(node)).pending.id
    answers = [node.tower.resume_request(ann, question, f"colour {n}") for n in range(10)]
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert sum(isinstance(result, Conflict) for result in results) == 9
    assert sum(not isinstance(result, Exception) for result in results) == 1


async def test_answer_that_does_not_fit_leaves_the_question_open(start_node, send, ann) -> None:
    node = await start_node(asks)
    question = (await send(node)).pending.id
    for bad in ("", "x" * 2001):
        with pytest.raises(InvalidInput):
            await node.tower.resume_request(ann, question, bad)
    process = await node.tower.resume_request(ann, question, "red", wait=10)
    with pytest.raises(InvalidInput, match="yes or no"):
        await node.tower.resume_request(ann, process.pending.id, "perhaps")
    assert (await node.tower.get(ann, process.pid)).state is ProcessState.WAITING


@pytest.mark.parametrize("word", ["yes", "Y", " ok ", "confirm", "approve", "TRUE"])
async def test_words_that_approve(start_node, send, ann, word: str) -> None:
    async def sure(mission: Mission) -> str:
        return str(await mission.confirm("sure?"))

    node = await start_node(sure)
    question = (await send(node)).pending.id
    process = await node.tower.resume_request(ann, question, word, wait=10)
    assert process.reply == "True"


async def test_question_of_another_user_or_kind_does_not_exist(start_node, send, ann) -> None:
    node = await start_node(asks)
    question = (await send(node)).pending.id
    with pytest.raises(NotFound):
        await node.tower.resume_request(Caller("bob"), question, "red")
    with pytest.raises(NotFound):
        await node.tower.resume_request(ann, question, "y", kind=InterruptKind.CONFIRMATION)
    with pytest.raises(NotFound):
        await node.tower.resume_request(ann, "nonsense", "red")
    assert await node.tower.pending_interrupts(Caller("bob")) == []


async def test_two_questions_at_once_are_answered_in_any_order(start_node, send, ann) -> None:
    async def both(mission: Mission) -> str:
        async def ask(name: str) -> str:
            return await mission.clarify(f"{name}?")

        return " ".join(await mission.gather(ask("left"), ask("right")))

    node = await start_node(both)
    process = await send(node)
    questions = {i.question: i.id for i in process.interrupts}
    assert set(questions) == {"left?", "right?"}
    process = await node.tower.resume_request(ann, questions["right?"], "R", wait=10)
    assert [i.question for i in process.interrupts] == ["left?"]
    process = await node.tower.resume_request(ann, questions["left?"], "L", wait=10)
    assert process.reply == "L R"


async def ten(mission: Mission) -> str:
    return " ".join(await mission.gather(*(mission.clarify(f"{n}?") for n in range(10))))


async def test_ten_questions_at_once_are_answered_in_any_order_across_restarts(
    start_node, send, ann
) -> None:
    node = await start_node(ten)
    process = await send(node)
    assert [each.question for each in process.interrupts] == [f"{n}?" for n in range(10)]
    questions = {each.question: each.id for each in process.interrupts}
    for count, number in enumerate((7, 0, 9, 3, 1, 8, 2, 6, 5, 4), 1):
        if count in (2, 5, 9):
            await node.stop()
            node = await start_node(ten)
        id = questions[f"{number}?"]
        process = await node.tower.resume_request(ann, id, f"<{number}>", wait=10)
        assert len(process.interrupts) == 10 - count
    assert process.reply == " ".join(f"<{number}>" for number in range(10))


async def test_answer_reaches_the_version_that_asked(start_node, send, ann) -> None:
    async def first(mission: Mission) -> str:
        return f"first {await mission.clarify('?')}"

    async def second(mission: Mission) -> str:
        return "second"

    node = await start_node(OrchestratorSpec("work", first))
    process = await send(node)
    await node.stop()
    upgraded = await start_node(
        OrchestratorSpec("work", second, version=2), OrchestratorSpec("work", first)
    )
    process = await upgraded.tower.resume_request(ann, process.pending.id, "answer", wait=10)
    assert (process.version, process.reply) == (1, "first answer")
    assert (await send(upgraded)).reply == "second"


async def test_nothing_of_a_waiting_process_is_kept_in_memory(start_node, send) -> None:
    """What a run is made of, and what its orchestrator holds, goes with the run."""
    kept: list[weakref.ref[object]] = []

    class Heavy:
        pass

    async def asks_with_baggage(mission: Mission) -> str:
        heavy = Heavy()
        async with mission.stage("ask"):
            await mission.step("before", lambda: None)
            task = asyncio.current_task()
            assert task is not None
            run = mission._run
            parts = (heavy, mission, mission.tools, run, run.journal, run.ledger, run.meter, task)
            kept.extend(weakref.ref(part) for part in parts)
            del run, task, parts
            answers = await mission.gather(mission.clarify("a?"), mission.confirm("b?"))
        return f"{answers} {heavy}"

    node = await start_node(asks_with_baggage)
    for _ in range(3):
        assert (await send(node)).state is ProcessState.WAITING
    assert len(kept) == 24
    async with asyncio.timeout(20):
        # The writer's thread may hold the last unit for a moment after it has told of it.
        while node.tower.depth != (0, 0) or any(ref() is not None for ref in kept):
            await asyncio.sleep(0.01)
            gc.collect()


async def test_two_answers_at_the_same_time_resume_the_process_once(start_node, send, ann) -> None:
    async def both(mission: Mission) -> str:
        return " ".join(await mission.gather(mission.clarify("a?"), mission.clarify("b?")))

    node = await start_node(both, running_slots=1)
    for _ in range(10):
        process = await send(node)
        answers = [node.tower.resume_request(ann, i.id, "x") for i in process.interrupts]
        await asyncio.gather(*answers)
        process = await node.tower.wait(ann, process.pid, 10)
        assert process.reply == "x x"
    while node.tower.depth != (0, 0):
        await asyncio.sleep(0)


async def test_answer_that_overtakes_the_run_which_asked_is_not_lost(start_node, send, ann) -> None:
    node = await start_node(asks)
    original = node.tower._runner.run

    async def slow_to_leave(start):
        process = await original(start)
        await asyncio.sleep(0.05)
        return process

    node.tower._runner.run = slow_to_leave
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "red", wait=10)
    assert process.pending.question == "Really red?"


async def test_answer_while_another_branch_still_runs_is_not_lost(start_node, send, ann) -> None:
    gate = asyncio.Event()

    async def both(mission: Mission) -> str:
        async def ask() -> str:
            return await mission.clarify("now?")

        async def work() -> str:
            return await mission.step("work", gate.wait) and "worked"

        return " ".join(await mission.gather(ask(), work()))

    node = await start_node(both)
    process = await send(node, wait=None)
    while not (pending := await node.tower.pending_interrupts(ann)):
        await asyncio.sleep(0.01)
    answered = await node.tower.resume_request(ann, pending[0].id, "A")
    assert answered.state is ProcessState.RUNNING
    gate.set()
    assert (await node.tower.wait(ann, process.pid, 10)).reply == "A worked"


async def test_expired_question_raises_where_it_was_asked(start_node, send, ann) -> None:
    async def impatient(mission: Mission) -> str:
        try:
            return await mission.clarify("quick?", timeout=0.05)
        except InterruptExpired as expired:
            return f"gave up: {expired}"

    node = await start_node(impatient)
    process = await send(node)
    question = process.pending.id
    async with asyncio.timeout(10):
        while (process := await node.tower.wait(ann, process.pid, 1)).outcome is None:
            await asyncio.sleep(0.01)
    assert process.reply == "gave up: nobody answered in time: quick?"
    with pytest.raises(Conflict, match="expired"):
        await node.tower.resume_request(ann, question, "late")


async def test_cancelled_process_closes_its_questions(start_node, send, ann) -> None:
    node = await start_node(asks)
    process = await send(node)
    await node.tower.cancel_request(ann, process.pid)
    assert await node.tower.pending_interrupts(ann) == []
    with pytest.raises(Conflict):
        await node.tower.resume_request(ann, process.pending.id, "red")


async def test_orchestrator_cannot_swallow_a_suspension(start_node, send, ann) -> None:
    async def stubborn(mission: Mission) -> str:
        try:
            answer = await mission.clarify("?")
        except BaseException:
            answer = "made up"
        return answer

    node = await start_node(stubborn)
    process = await send(node)
    assert process.state is ProcessState.WAITING
    process = await node.tower.resume_request(ann, process.pending.id, "real", wait=10)
    assert process.reply == "real"


# tools that change something


def tools(calls: list[str]):
    @tool(risk="write")
    def save(text: str) -> str:
        """Save a text."""
        calls.append(text)
        return f"saved {text}"

    return [save]


async def saves(mission: Mission) -> str:
    return await mission.tools.save(text=mission.message)


async def test_write_tool_runs_only_once_confirmed(start_node, send, ann) -> None:
    calls: list[str] = []
    node = await start_node(saves, tools=tools(calls))
    process = await send(node, "a")
    assert process.pending.kind is InterruptKind.CONFIRMATION
    assert process.pending.question == "May I run the write tool 'save'?\n  text: a"
    assert calls == []
    process = await node.tower.resume_request(ann, process.pending.id, "ok", wait=10)
    assert (process.reply, calls) == ("saved a", ["a"])


async def test_declined_tool_does_not_run(start_node, send, ann) -> None:
    calls: list[str] = []
    node = await start_node(saves, tools=tools(calls))
    process = await send(node, "a")
    process = await node.tower.resume_request(ann, process.pending.id, "no", wait=10)
    assert (process.outcome, calls) == (Outcome.COMPLETED, [])
    assert process.reply == "Nothing more was done: the user declined to run 'save'"


async def test_what_was_declined_in_a_child_is_told_by_its_parent(start_node, send, ann) -> None:
    async def middle(mission: Mission) -> str:
        return (await mission.spawn("saves", mission.message)).text

    async def asks(mission: Mission) -> str:
        return (await mission.spawn("middle", mission.message)).text

    calls: list[str] = []
    node = await start_node(asks, middle, saves, tools=tools(calls))
    process = await send(node, "a", capability="asks")
    process = await node.tower.resume_request(ann, process.pending.id, "no", wait=10)
    assert (process.outcome, calls) == (Outcome.COMPLETED, [])
    assert process.reply == "Nothing more was done: the user declined to run 'save'"

"""Each kind of question that an orchestrator asks: how long it lives and what may be answered."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from itertools import product

import pytest

from mission_system.core.errors import InvalidInput, MissionError
from mission_system.core.tower.interrupts import TIME_TO_LIVE, Declined
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import InterruptKind, Outcome, ProcessState

KIND = InterruptKind


async def review(mission: Mission) -> str:
    return await mission.review("Is this draft right?")


async def choice(mission: Mission) -> str:
    return await mission.review("Which draft?", options=["First", "Second"])


async def remark(mission: Mission) -> str:
    return await mission.review("What do you think?", options=())


async def checkpoint(mission: Mission) -> str:
    await mission.checkpoint("Half of it is done.")
    return "went on"


async def clarify(mission: Mission) -> str:
    return await mission.clarify("Which?")


async def confirm(mission: Mission) -> str:
    return str(await mission.confirm("Sure?"))


def test_times_to_live_are_those_promised() -> None:
    assert TIME_TO_LIVE == {
        KIND.CLARIFICATION: 24 * 3600,
        KIND.CONFIRMATION: 3600,
        KIND.AGENT_REVIEW: 30 * 60,
        KIND.CHECKPOINT: None,
        KIND.RESOURCE_EXHAUSTED: 5 * 60,
        KIND.TIMEOUT: 5 * 60,
        KIND.SYSTEM_ERROR: 3600,
    }


@pytest.mark.parametrize(
    ("ask", "kind", "options", "given", "answer", "reply"),
    [
        (clarify, KIND.CLARIFICATION, (), " the left one ", " the left one ", " the left one "),
        (confirm, KIND.CONFIRMATION, ("yes", "no"), "OK", "yes", "True"),
        (confirm, KIND.CONFIRMATION, ("yes", "no"), "deny", "no", "False"),
        (review, KIND.AGENT_REVIEW, ("approve", "reject"), "Reject", "reject", "reject"),
        (choice, KIND.AGENT_REVIEW, ("First", "Second"), "second", "Second", "Second"),
        (remark, KIND.AGENT_REVIEW, ("approve", "reject"), "approve", "approve", "approve"),
        (checkpoint, KIND.CHECKPOINT, ("continue", "stop"), "CONTINUE", "continue", "went on"),
    ],
)
async def test_each_kind_waits_as_long_as_it_says_and_stores_its_answer_in_one_form(
    start_node, send, ann, told, ask, kind, options, given, answer, reply
) -> None:
    node = await start_node(ask)
    process = await send(node)
    question = process.pending
    assert (process.state, question.kind, question.options) == (
        ProcessState.WAITING,
        kind,
        options,
    )
    lives = TIME_TO_LIVE[kind]
    if lives is None:
        assert question.expires_at is None
    else:
        assert (question.expires_at - question.created_at).total_seconds() == lives
    process = await node.tower.resume_request(ann, question.id, given, wait=10)
    assert (process.outcome, process.reply) == (Outcome.COMPLETED, reply)
    assert (await node.tower.get_interrupt(ann, question.id)).answer == answer
    raised, resolved = [e for e in await told(node, process) if e.type.startswith("interrupt.")]
    assert raised.payload == {
        "interrupt_id": question.id,
        "kind": kind,
        "question": question.question,
        "options": list(options),
        "data": None,
        "message_id": raised.payload["message_id"],
        "expires_at": raised.payload["expires_at"],
    }
    assert resolved.payload == {
        "interrupt_id": question.id,
        "kind": kind,
        "question": question.question,
        "answer": answer,
    }


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (confirm, "yes or no"),
        (review, "choose one of: approve, reject"),
        (checkpoint, "choose one of: continue, stop"),
        (choice, "choose one of: First, Second"),
    ],
)
async def test_wrong_answer_names_the_choices_and_leaves_the_question_open(
    start_node, send, ann, ask, message
) -> None:
    node = await start_node(ask)
    process = await send(node)
    with pytest.raises(InvalidInput, match=message) as wrong:
        await node.tower.resume_request(ann, process.pending.id, "perhaps")
    assert wrong.value.field == "answer"
    assert await node.tower.get(ann, process.pid) == process


async def test_options_that_differ_in_case_alone_are_told_apart(start_node, send, ann) -> None:
    async def cases(mission: Mission) -> str:
        return await mission.review("?", options=["a", "A"])

    node = await start_node(cases)
    question = (await send(node)).pending.id
    process = await node.tower.resume_request(ann, question, "A", wait=10)
    assert process.reply == "A"


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        *product((clarify, confirm, review, checkpoint), ("a\x00b", "\ud800", "", "x" * 2001)),
        *product((confirm, review, checkpoint), ("  ",)),
    ],
)
async def test_answer_that_no_database_holds_is_refused(
    start_node, send, ann, ask, answer: str
) -> None:
    node = await start_node(ask)
    question = (await send(node)).pending.id
    with pytest.raises(InvalidInput) as refused:
        await node.tower.resume_request(ann, question, answer)
    assert refused.value.field == "answer"
    assert [each.id for each in await node.tower.pending_interrupts(ann)] == [question]


async def test_stopped_checkpoint_ends_the_work(start_node, send, ann) -> None:
    node = await start_node(checkpoint)
    question = (await send(node)).pending.id
    process = await node.tower.resume_request(ann, question, "stop", wait=10)
    assert process.outcome is Outcome.COMPLETED
    assert (
        process.reply == "Nothing more was done: the user stopped the work at: Half of it is done."
    )


async def test_stopped_checkpoint_lets_the_orchestrator_tidy_up(start_node, send, ann) -> None:
    async def careful(mission: Mission) -> str:
        try:
            await mission.checkpoint("Half of it is done.")
        except Declined:
            return "half of it"
        return "all of it"

    node = await start_node(careful)
    question = (await send(node)).pending.id
    process = await node.tower.resume_request(ann, question, "stop", wait=10)
    assert process.reply == "half of it"


Ask = Callable[[Mission, float], Awaitable[object]]


@pytest.mark.parametrize("timeout", [math.nan, -1.0, 0.0, math.inf, -math.inf])
@pytest.mark.parametrize(
    "ask",
    [
        lambda mission, timeout: mission.clarify("?", timeout=timeout),
        lambda mission, timeout: mission.confirm("?", timeout=timeout),
        lambda mission, timeout: mission.review("?", timeout=timeout),
    ],
)
async def test_timeout_that_is_no_length_of_time_is_refused(
    start_node, send, ask: Ask, timeout: float
) -> None:
    async def hasty(mission: Mission) -> str:
        try:
            await ask(mission, timeout)
        except InvalidInput as error:
            return error.field
        except MissionError as error:
            return error.code
        return "asked"

    assert (await send(await start_node(hasty))).reply == "timeout"


async def test_timeout_only_shortens(start_node, send) -> None:
    async def both(mission: Mission) -> str:
        await mission.gather(
            mission.confirm("short", timeout=60), mission.confirm("long", timeout=1e300)
        )
        return "ok"

    lives = {
        each.question: (each.expires_at - each.created_at).total_seconds()
        for each in (await send(await start_node(both))).interrupts
    }
    assert lives == {"short": 60, "long": 3600}

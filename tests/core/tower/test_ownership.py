"""Another user's thing does not exist: by no view, by no change, under no id."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from mission_system.core.chat.service import ChatService
from mission_system.core.errors import Conflict, NotFound
from mission_system.core.events.service import EventService
from mission_system.core.identity import Caller
from mission_system.core.memory.working import WorkingMemory, store_values
from mission_system.core.node import Node
from mission_system.core.tower.control_tower import ControlTower
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, ProcessControlBlock, SchedulingPriority

ANN, BOB = Caller("ann"), Caller("bob")


async def child(mission: Mission) -> str:
    return mission.message


async def asks(mission: Mission) -> str:
    await mission.spawn("child", "hi")
    return await mission.clarify("Sure?")


@dataclass
class Things:
    """What belongs to Ann, and to Bob under ids of the same form."""

    node: Node
    process: ProcessControlBlock

    @property
    def interrupt(self) -> str:
        assert self.process.pending is not None
        return self.process.pending.id


async def ask(node: Node, caller: Caller, **envelope: Any) -> ProcessControlBlock:
    request = Envelope(caller=caller, message="hi", **envelope)
    process = (await node.tower.submit_request(request, wait=10)).process
    assert process is not None
    assert process.pending is not None
    return process


@pytest.fixture
async def things(start_node: Any) -> Things:
    node = await start_node(asks, child)
    process = await ask(node, ANN)
    await ask(node, BOB)
    return Things(node, process)


async def first_of(events: AsyncIterator[Any]) -> Any:
    return await anext(events)


View = Callable[[Things, Caller], Awaitable[Any]]

HIDDEN: dict[str, View] = {
    "ControlTower.submit_request": lambda t, c: t.node.tower.submit_request(
        Envelope(caller=c, message="hi", session_id=t.process.session_id)
    ),
    "ControlTower.resume_request": lambda t, c: t.node.tower.resume_request(c, t.interrupt, "yes"),
    "ControlTower.cancel_request": lambda t, c: t.node.tower.cancel_request(c, t.process.pid),
    "ControlTower.resume_process": lambda t, c: t.node.tower.resume_process(c, t.process.pid),
    "ControlTower.fork_process": lambda t, c: t.node.tower.fork_process(c, t.process.pid, steps=0),
    "ControlTower.set_priority": lambda t, c: t.node.tower.set_priority(
        c, t.process.pid, SchedulingPriority.HIGH
    ),
    "ControlTower.adjust_quota": lambda t, c: t.node.tower.adjust_quota(
        c, t.process.pid, max_llm_calls=1
    ),
    "ControlTower.usage": lambda t, c: t.node.tower.usage(c, t.process.session_id),
    "ControlTower.wait": lambda t, c: t.node.tower.wait(c, t.process.pid, 0),
    "ControlTower.get": lambda t, c: t.node.tower.get(c, t.process.pid),
    "ControlTower.steps": lambda t, c: t.node.tower.steps(c, t.process.pid),
    "ControlTower.get_interrupt": lambda t, c: t.node.tower.get_interrupt(c, t.interrupt),
    "ChatService.get_session": lambda t, c: t.node.chat.get_session(c, t.process.session_id),
    "ChatService.list_messages": lambda t, c: t.node.chat.list_messages(c, t.process.session_id),
    "ChatService.get_message": lambda t, c: t.node.chat.get_message(c, t.process.message_id),
    "ChatService.update_session": lambda t, c: t.node.chat.update_session(
        c, t.process.session_id, title="new"
    ),
    "ChatService.delete_session": lambda t, c: t.node.chat.delete_session(c, t.process.session_id),
    "ChatService.delete_session for good": lambda t, c: t.node.chat.delete_session(
        c, t.process.session_id, soft=False
    ),
    "ChatService.export_session": lambda t, c: t.node.chat.export_session(c, t.process.session_id),
    "ChatService.edit_message": lambda t, c: t.node.chat.edit_message(
        c, t.process.message_id, "new"
    ),
    "ChatService.delete_message": lambda t, c: t.node.chat.delete_message(c, t.process.message_id),
    "WorkingMemory.entries": lambda t, c: t.node.working_memory.entries(c, t.process.session_id),
    "EventService.read": lambda t, c: t.node.events.read(c, t.process.session_id),
    "EventService.last_seq": lambda t, c: t.node.events.last_seq(c, t.process.session_id),
    "EventService.follow_session": lambda t, c: first_of(
        t.node.events.follow_session(c, t.process.session_id, after=0)
    ),
    "EventService.follow_process": lambda t, c: first_of(
        t.node.events.follow_process(c, t.process.pid)
    ),
}
"""What names a thing: NotFound to Bob. To Ann a Conflict at most: it is there."""


async def pids(things: Things, caller: Caller) -> set[str]:
    return {p.pid for p in (await things.node.tower.list_processes(caller)).items}


async def pids_of_session(things: Things, caller: Caller) -> set[str]:
    page = await things.node.tower.list_processes(caller, session_id=things.process.session_id)
    return {process.pid for process in page.items}


async def pids_by_pid(things: Things, caller: Caller) -> set[str]:
    return set(await things.node.tower.get_many(caller, [things.process.pid]))


async def pids_by_step(things: Things, caller: Caller) -> set[str]:
    return set(await things.node.tower.get_steps(caller, [things.process.pid]))


async def sessions_by_id(things: Things, caller: Caller) -> set[str]:
    return set(await things.node.chat.get_sessions(caller, [things.process.session_id]))


async def parents(things: Things, caller: Caller) -> set[str]:
    return set(await things.node.tower.get_children(caller, [things.process.pid]))


async def asking(things: Things, caller: Caller) -> set[str]:
    return {i.pid for i in await things.node.tower.pending_interrupts(caller)}


async def asked(things: Things, caller: Caller) -> set[str]:
    return {i.pid for i in (await things.node.tower.list_interrupts(caller)).items}


async def sessions(things: Things, caller: Caller) -> set[str]:
    return {s.session_id for s in (await things.node.chat.list_sessions(caller)).items}


async def found(things: Things, caller: Caller) -> set[int]:
    return {f.message.message_id for f in (await things.node.chat.search(caller, "hi")).items}


async def best_found(things: Things, caller: Caller) -> set[int]:
    return {f.message.message_id for f in (await things.node.chat.search_best(caller, "hi")).items}


async def messages(things: Things, caller: Caller) -> set[int]:
    return set(await things.node.chat.get_messages(caller, [things.process.message_id]))


async def number(things: Things) -> int:
    """`Session.id` of Ann's session."""
    return (await things.node.chat.get_session(ANN, things.process.session_id)).id


async def pids_by_session(things: Things, caller: Caller) -> set[str]:
    pages = await things.node.tower.list_processes_of(caller, [await number(things)])
    return {process.pid for page in pages.values() for process in page.items}


async def pids_by_question(things: Things, caller: Caller) -> set[str]:
    found = await things.node.tower.get_interrupts(caller, [things.interrupt])
    return {interrupt.pid for interrupt in found.values()}


async def messages_by_session(things: Things, caller: Caller) -> set[int]:
    pages = await things.node.chat.list_messages_of(caller, [await number(things)])
    return {message.message_id for page in pages.values() for message in page.items}


async def pids_by_event(things: Things, caller: Caller) -> set[str | None]:
    pages = await things.node.events.list_events_of(caller, [await number(things)])
    return {event.pid for page in pages.values() for event in page.items}


async def pids_by_own_event(things: Things, caller: Caller) -> set[str | None]:
    streams = {things.process.pid: await number(things)}
    pages = await things.node.events.list_process_events_of(caller, streams)
    return {event.pid for page in pages.values() for event in page.items}


async def sessions_by_usage(things: Things, caller: Caller) -> set[str]:
    session = await number(things)
    used = await things.node.tower.usage_of(caller, [session])
    return {things.process.session_id} if session in used else set()


async def sessions_by_memory(things: Things, caller: Caller) -> set[str]:
    session = await number(things)
    await things.node.database.write(lambda tx: store_values(tx, session, "asks", {"key": "1"}, 1))
    kept = await things.node.working_memory.entries_of(caller, [session])
    return {things.process.session_id} if session in kept else set()


LISTED: dict[str, tuple[Callable[[Things, Caller], Awaitable[set[Any]]], str]] = {
    "ControlTower.list_processes": (pids, "pid"),
    "ControlTower.list_processes of a session": (pids_of_session, "pid"),
    "ControlTower.get_many": (pids_by_pid, "pid"),
    "ControlTower.get_steps": (pids_by_step, "pid"),
    "ChatService.get_sessions": (sessions_by_id, "session_id"),
    "ControlTower.get_children": (parents, "pid"),
    "ControlTower.pending_interrupts": (asking, "pid"),
    "ControlTower.list_interrupts": (asked, "pid"),
    "ChatService.list_sessions": (sessions, "session_id"),
    "ChatService.search": (found, "message_id"),
    "ChatService.search_best": (best_found, "message_id"),
    "ChatService.get_messages": (messages, "message_id"),
    "ControlTower.list_processes_of": (pids_by_session, "pid"),
    "ControlTower.get_interrupts": (pids_by_question, "pid"),
    "ChatService.list_messages_of": (messages_by_session, "message_id"),
    "EventService.list_events_of": (pids_by_event, "pid"),
    "EventService.list_process_events_of": (pids_by_own_event, "pid"),
    "ControlTower.usage_of": (sessions_by_usage, "session_id"),
    "WorkingMemory.entries_of": (sessions_by_memory, "session_id"),
}
"""What lists things: without Ann's for Bob. The attribute of her process that names the thing."""

NOBODYS = {
    "ChatService.create_session": "makes the caller's own",
    "ControlTower.system_usage": "an administrator's",
    "ControlTower.system_model_usage": "an administrator's",
    "ControlTower.model_usage": "sums of the caller's own",
    "ControlTower.context_of": "empty for another user's; tested by itself",
    "ControlTower.start": "life",
    "ControlTower.stop": "life",
}


def test_every_method_that_takes_a_caller_is_in_the_table() -> None:
    methods = {
        f"{service.__name__}.{name}"
        for service in (ControlTower, ChatService, EventService, WorkingMemory)
        for name, method in inspect.getmembers(service, inspect.isfunction)
        if not name.startswith("_")
        and {"caller", "envelope"} & set(inspect.signature(method).parameters)
        and "tx" not in inspect.signature(method).parameters
    }
    listed = {name.partition(" ")[0] for name in LISTED}
    assert methods - set(HIDDEN) - listed - set(NOBODYS) == set()


@pytest.mark.parametrize("name", HIDDEN)
async def test_thing_of_another_user_is_not_found(things: Things, name: str) -> None:
    with pytest.raises(NotFound):
        await HIDDEN[name](things, BOB)
    before = await things.node.tower.get(ANN, things.process.pid)
    assert before == things.process  # Bob has changed nothing
    with suppress(Conflict):
        await HIDDEN[name](things, ANN)


@pytest.mark.parametrize("name", LISTED)
async def test_thing_of_another_user_is_in_no_list(things: Things, name: str) -> None:
    view, attribute = LISTED[name]
    thing = getattr(things.process, attribute)
    assert thing not in await view(things, BOB)
    assert thing in await view(things, ANN)


async def test_context_of_another_users_request_is_empty(start_node: Any) -> None:
    node = await start_node(asks, child)
    hers = await ask(node, ANN, context={"secret": 1})
    assert await node.tower.context_of(BOB, hers.pid) == {}
    assert (await node.tower.context_of(ANN, hers.pid))["secret"] == 1


async def test_request_id_of_another_user_is_free_and_names_ones_own(start_node: Any) -> None:
    node = await start_node(asks, child)
    hers, his = [await ask(node, caller, request_id="same") for caller in (ANN, BOB)]
    assert (await node.tower.get(ANN, "same")).pid == hers.pid
    assert (await node.tower.get(BOB, "same")).pid == his.pid


async def test_session_id_of_another_user_names_ones_own(start_node: Any) -> None:
    node = await start_node(asks, child)
    hers, his = [
        await ask(node, caller, session_id="same", create_session=True) for caller in (ANN, BOB)
    ]
    for caller, process in ((ANN, hers), (BOB, his)):
        page = await node.tower.list_processes(caller, session_id="same")
        assert process.pid in {each.pid for each in page.items}
        assert {each.user_id for each in page.items} == {caller.user_id}


async def test_request_id_that_is_the_pid_of_another_process_gives_way(start_node: Any) -> None:
    node = await start_node(asks, child)
    first = await ask(node, ANN, request_id="first")
    second = await ask(node, ANN, request_id=first.pid)
    assert (await node.tower.get(ANN, first.pid)).pid == first.pid
    assert (await node.tower.get(ANN, second.pid)).pid == second.pid

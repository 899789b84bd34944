"""Who may run which tool: allowed, asked about or refused, and the same on every replay."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel, ValidationError

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import ToolFailed
from mission_system.core.identity import Caller
from mission_system.core.settings import Settings
from mission_system.core.tools.decorator import tool
from mission_system.core.tools.spec import ToolSpec
from mission_system.core.tower.interrupts import Declined
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.policy import ToolRule, decide
from mission_system.core.tower.process import InterruptKind, Outcome

calls: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls_yet() -> None:
    calls.clear()


@tool(risk="read_only")
def look(what: str) -> str:
    """Look at something."""
    calls.append("look")
    return f"saw {what}"


@tool(risk="write")
def save(text: str) -> str:
    """Save a text."""
    calls.append("save")
    return f"saved {text}"


@tool(risk="destructive")
def burn(what: str, how: dict[str, object] | None = None) -> str:
    """Burn something."""
    calls.append("burn")
    return f"burnt {what}"


TOOLS = [look, save, burn]


class Where(BaseModel):
    disk: str = "all of them"


async def work(mission: Mission) -> str:
    """Calls the tool that the message names."""
    try:
        return str(await mission.tools.call(mission.message, **{ARGUMENT[mission.message]: "it"}))
    except ToolFailed as error:
        return f"{error.status}: {error.text}"


ARGUMENT = {"look": "what", "save": "text", "burn": "what"}

DENIED = "denied: the policy of this server does not let 'work' run it"


@pytest.mark.parametrize(("tool", "asked"), [("look", False), ("save", True), ("burn", True)])
async def test_without_rules_the_risk_decides(start_node, send, ann, tool, asked) -> None:
    node = await start_node(work, tools=TOOLS)
    process = await send(node, tool)
    assert (process.pending is not None) is asked
    assert calls == ([] if asked else [tool])
    if asked:
        assert process.pending.kind is InterruptKind.CONFIRMATION
        await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
        assert calls == [tool]


async def test_allowed_tool_runs_unasked(start_node, send) -> None:
    rules = [{"tool": "burn", "decision": "allow"}]
    node = await start_node(work, tools=TOOLS, tool_policy=rules)
    assert (await send(node, "burn")).reply == "burnt it"
    assert (await send(node, "save")).pending is not None


async def test_confirmed_read_only_tool_asks(start_node, send, ann) -> None:
    node = await start_node(
        work, tools=TOOLS, tool_policy=[{"tool": "look", "decision": "confirm"}]
    )
    process = await send(node, "look")
    assert process.pending.question == "May I run the read-only tool 'look'?\n  what: it"
    assert process.pending.data == {
        "tool": "look",
        "risk": "read_only",
        "arguments": '{"what":"it"}',
    }
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reply == "saw it"


async def test_denied_tool_fails_without_being_called(start_node, send, told) -> None:
    node = await start_node(work, tools=TOOLS, tool_policy=[{"tool": "burn", "decision": "deny"}])
    process = await send(node, "burn")
    assert (process.reply, calls) == (DENIED, [])
    assert process.usage.tool_calls == 0
    told_of = [e for e in await told(node, process) if e.type.startswith("tool.")]
    assert [(e.type, e.payload["status"]) for e in told_of] == [("tool.completed", "denied")]


async def test_rule_of_a_user_is_for_that_user_alone(start_node, send) -> None:
    rules = [
        {"tool": "burn", "decision": "deny"},
        {"user": "ann", "tool": "burn", "decision": "allow"},
    ]
    node = await start_node(work, tools=TOOLS, tool_policy=rules)
    assert (await send(node, "burn")).reply == "burnt it"
    assert (await send(node, "burn", caller=Caller("bob"))).reply == DENIED


async def test_rule_of_a_capability_is_for_that_capability_alone(start_node, send) -> None:
    rules = [{"capability": "careless", "decision": "allow"}]
    careless = OrchestratorSpec("careless", work)
    node = await start_node(careless, work, tools=TOOLS, tool_policy=rules)
    assert (await send(node, "burn", capability="careless")).reply == "burnt it"
    assert (await send(node, "burn", capability="work")).pending is not None


@pytest.mark.parametrize(
    ("of_capability", "tool", "expected"),
    [
        ({"burn": "deny"}, "burn", DENIED),
        ({"burn": "allow"}, "burn", "burnt it"),
        ({"*": "allow"}, "burn", "burnt it"),
        ({"*": "deny"}, "look", DENIED),
        ({"*": "deny", "look": "allow"}, "look", "saw it"),
    ],
)
async def test_capability_brings_a_policy_of_its_own(
    start_node, send, of_capability, tool, expected
) -> None:
    spec = OrchestratorSpec("work", work, tool_policy=of_capability)
    node = await start_node(spec, tools=TOOLS)
    assert (await send(node, tool)).reply == expected


async def test_rules_of_the_server_go_before_the_capability(start_node, send) -> None:
    spec = OrchestratorSpec("work", work, tool_policy={"*": "allow"})
    node = await start_node(spec, tools=TOOLS, tool_policy=[{"user": "ann", "decision": "deny"}])
    assert (await send(node, "burn")).reply == DENIED


RULES = {
    "user+tool": ToolRule(user="u", tool="burn", decision="allow"),
    "capability+tool": ToolRule(capability="c", tool="burn", decision="deny"),
    "user": ToolRule(user="u", decision="allow"),
    "capability": ToolRule(capability="c", decision="deny"),
    "tool": ToolRule(tool="burn", decision="allow"),
    "all": ToolRule(decision="deny"),
}


@pytest.mark.parametrize("position", range(len(RULES)))
def test_most_specific_rule_decides_whatever_the_order(position: int) -> None:
    rules = list(RULES.values())[position:]
    for ordered in (rules, rules[::-1]):
        decision = decide(ordered, {}, burn, user="u", capability="c")
        assert decision == rules[0].decision


# replays


async def two(mission: Mission) -> str:
    try:
        first = str(await mission.tools.burn(what="it"))
    except ToolFailed as error:
        first = error.status
    return f"{first}, {await mission.clarify('and then?')}"


@pytest.mark.parametrize(("before", "after"), [("deny", "allow"), ("allow", "deny")])
async def test_decision_belongs_to_the_step(start_node, send, ann, before, after) -> None:
    node = await start_node(two, tools=TOOLS, tool_policy=[{"decision": before}])
    process = await send(node)
    await node.stop()
    again = await start_node(two, tools=TOOLS, tool_policy=[{"decision": after}])
    process = await again.tower.resume_request(ann, process.pending.id, "rest", wait=10)
    assert process.reply == ("denied, rest" if before == "deny" else "burnt it, rest")
    assert len(calls) == (before == "allow")


@pytest.mark.parametrize("after", ["deny", "allow"])
async def test_question_once_asked_decides_though_the_policy_has_changed(
    start_node, send, ann, after
) -> None:
    node = await start_node(two, tools=TOOLS)
    process = await send(node)
    await node.stop()
    again = await start_node(two, tools=TOOLS, tool_policy=[{"decision": after}])
    process = await again.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.pending.question == "and then?"
    process = await again.tower.resume_request(ann, process.pending.id, "rest", wait=10)
    assert (process.reply, calls) == ("burnt it, rest", ["burn"])


async def test_yes_is_for_the_arguments_that_were_shown(start_node, send, ann) -> None:
    what = "one file"

    async def changing(mission: Mission) -> str:
        return str(await mission.tools.burn(what=what))

    node = await start_node(changing, tools=TOOLS)
    first = (await send(node)).pending
    what = "everything"
    process = await node.tower.resume_request(ann, first.id, "yes", wait=10)
    assert calls == []
    assert "what: everything" in process.pending.question
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert (process.reply, calls) == ("burnt everything", ["burn"])


async def test_call_in_doubt_is_not_retried_with_what_nobody_was_shown(
    start_node, send, ann
) -> None:
    what = "one file"
    started = asyncio.Event()

    @tool(risk="destructive")
    async def melt(what: str) -> str:
        """Melt something."""
        calls.append(what)
        started.set()
        await asyncio.Event().wait()
        return what

    async def changing(mission: Mission) -> str:
        return str(await mission.tools.melt(what=what))

    node = await start_node(changing, tools=[melt], shutdown_seconds=0)
    process = await send(node)
    await node.tower.resume_request(ann, process.pending.id, "yes")
    async with asyncio.timeout(10):
        await started.wait()
    await node.stop()
    what = "everything"
    node = await start_node(changing, tools=[melt], shutdown_seconds=0)
    process = await node.tower.wait(ann, process.pid, 10)
    assert process.pending.kind is InterruptKind.CONFIRMATION
    assert "what: everything" in process.pending.question
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.pending.kind is InterruptKind.AGENT_REVIEW
    assert calls == ["one file"]


async def test_declined_tool_says_so_to_the_orchestrator(start_node, send, ann) -> None:
    async def careful(mission: Mission) -> str:
        try:
            return str(await mission.tools.burn(what="it"))
        except Declined as error:
            return error.message

    node = await start_node(careful, tools=TOOLS)
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "no", wait=10)
    assert (process.reply, calls) == ("the user declined to run 'burn'", [])


# what people read


async def test_question_shows_arguments_as_people_write_them(start_node, send) -> None:
    async def burns(mission: Mission) -> str:
        how = {"with": "matches", "times": 3}
        return str(await mission.tools.burn(what='"Grüße"\n  how: gently', how=how))

    question = (await send(await start_node(burns, tools=TOOLS))).pending.question
    assert question.splitlines() == [
        "May I run the destructive tool 'burn'?",
        '  what: "Grüße" how: gently',
        '  how: {"with":"matches","times":3}',
    ]


@pytest.mark.parametrize("many", [{"what": "x" * 100_000}, {f"a{n}": n for n in range(1000)}])
async def test_question_is_bounded(start_node, send, many) -> None:
    def melts(**what: str | int) -> None:
        """A spec made by hand takes any arguments."""

    melt = ToolSpec("melt", "Melt whatever is named.", melts, {}, None, risk="destructive")

    async def melting(mission: Mission) -> str:
        return str(await mission.tools.call("melt", **many))

    question = (await send(await start_node(melting, tools=[melt]))).pending.question
    assert len(question) < 1000
    assert "(100000 characters)" in question or "... and 980 more" in question


async def test_question_holds_nothing_that_no_database_does(start_node, send) -> None:
    async def burns(mission: Mission) -> str:
        how = {"big": 1 << 80, "lone": "\ud800"}
        return str(await mission.tools.burn(what="a\x00b", how=how))

    process = await send(await start_node(burns, tools=TOOLS))
    assert process.pending.question.splitlines()[1:] == [
        "  what: a\ufffdb",
        f"  how: {{'big': {1 << 80}, 'lone': '\\ud800'}}",
    ]


async def test_question_shows_what_the_tool_gets_defaults_included(
    start_node, send, ann, told
) -> None:
    @tool(risk="destructive")
    def wipe(where: Where, n: int = 3) -> str:
        """Wipe so many times."""
        return f"wiped {where.disk} {n} times"

    async def wipes(mission: Mission) -> str:
        return str(await mission.tools.wipe(where={}))

    node = await start_node(wipes, tools=[wipe])
    process = await send(node)
    assert process.pending.question.splitlines()[1:] == [
        '  where: {"disk":"all of them"}',
        "  n: 3",
    ]
    assert process.pending.data["arguments"] == '{"where":{"disk":"all of them"},"n":3}'
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reply == "wiped all of them 3 times"
    called = [e for e in await told(node, process) if e.type == "tool.called"]
    assert [e.payload["arguments"] for e in called] == ['{"where":{}}']  # as the mission gave them


@pytest.mark.parametrize("wrong", [{}, {"what": "it", "how": "gently"}, {"what": "it", "n": 1}])
async def test_nobody_is_asked_about_arguments_that_are_refused(start_node, send, wrong) -> None:
    async def burns(mission: Mission) -> str:
        try:
            return str(await mission.tools.call("burn", **wrong))
        except ToolFailed as error:
            return str(error.status)

    process = await send(await start_node(burns, tools=TOOLS))
    assert (process.reply, process.pending, calls) == ("invalid_arguments", None, [])


# bad rules


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ('[{"tool": "burn", "decision": "perhaps"}]', "tool_policy.0.decision"),
        ('[{"tool": "burn"}]', "tool_policy.0.decision"),
        ('[{"decision": "deny"}, {"tol": "burn", "decision": "deny"}]', "tool_policy.1.tol"),
        ('[{"tool": "", "decision": "deny"}]', "tool_policy.0.tool"),
        (
            '[{"tool": "a", "decision": "deny"}, {"tool": "a", "decision": "allow"}]',
            'rules 0 and 1 are for the same calls ({"tool":"a"})',
        ),
    ],
)
def test_bad_rule_is_named(monkeypatch, rules: str, named: str) -> None:
    monkeypatch.setenv("MISSION_TOOL_POLICY", rules)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert named in str(refused.value)


def test_rules_come_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("MISSION_TOOL_POLICY", '[{"user": "ann", "decision": "deny"}]')
    assert Settings().tool_policy == (ToolRule(user="ann", decision="deny"),)


def test_bad_policy_of_a_capability_is_named() -> None:
    with pytest.raises(ValueError, match="capability 'work': tool_policy says 'maybe' of 'burn'"):
        OrchestratorSpec("work", work, tool_policy={"burn": "maybe"})  # type: ignore[dict-item]


async def test_failed_confirmation_expires_like_any(start_node, send, ann) -> None:
    node = await start_node(work, tools=TOOLS)
    process = await send(node, "burn")
    interrupt = process.pending
    await node.database.write(
        lambda tx: tx.execute("UPDATE interrupt SET expires_at = 1 WHERE id = ?", (interrupt.id,))
    )
    await node.tower.upkeep._expire(interrupt)
    process = await node.tower.wait(ann, process.pid, 10)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "interrupt_expired")
    assert calls == []

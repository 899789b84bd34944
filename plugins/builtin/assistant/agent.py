"""A model with tools, at work until it has an answer.

Each question to the model and each call of a tool is a step of the mission: a run that begins again
after a crash is told what they gave, and goes on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from ....core.capabilities import Reply
from ....core.errors import InvalidInput, LLMError, ToolFailed
from ....core.llm.provider import LLMMessage, LLMReply, LLMTool, LLMToolCall, without_fence
from ....core.tower.interrupts import Declined, InterruptExpired
from .window import cut, fitting, room_of, size

if TYPE_CHECKING:
    from ....core.tower.mission import Mission

ROLE = "assistant"
MOST_MISSES = 3  # answers that are no JSON, where JSON is asked for
NO_JSON = "That is no JSON. Reply again, with JSON only."
MOST_CALLS = 16  # of tools that one reply may ask for
LAST = "This is your last reply: answer with what you know by now, without tools."
SCHEMA = "output_schema"
"""In a request's context: the JSON Schema of the answer, which is then the reply's data too."""


async def work(mission: Mission) -> Reply:
    """The answer to the mission's message."""
    schema = _schema(mission)
    async with mission.stage("answer"):
        system = LLMMessage("system", mission.prompt(ROLE))
        last = LLMMessage("system", f"{system.content} {LAST}")
        history = await mission.history(limit=200)
        turn = [LLMMessage("user", mission.message)]
        misses = 0
        most = sys.maxsize  # characters that the model may have room for, as far as it has said
        while True:
            # Anew each time: a breaker may have opened since, or an administrator shut a tool off.
            offered = await mission.tools.offered()
            tools = [LLMTool(spec.name, spec.description, spec.parameters) for spec in offered]
            harmless = {spec.name for spec in offered if spec.risk == "read_only"}
            room = min(most, room_of(mission.quota, tools))
            is_last = mission.llm_calls + 1 >= mission.quota.max_llm_calls
            told = last if is_last else system
            prompt = fitting(told, history, turn, room)
            try:
                reply = await mission.llm(ROLE).ask(prompt, tools=tools, output_schema=schema)
            except LLMError as error:
                # A token may be a letter; and a small model has less room than the quota.
                most = min(room, sum(map(size, prompt))) // 2
                less = fitting(told, history, turn, most)
                if error.kind != "context_too_long" or less == prompt:
                    raise
                continue
            if reply.tool_calls:
                turn += await _use(mission, reply, room, harmless)
            elif reply.finish == "length" and not reply.text.strip():
                raise LLMError(
                    "invalid",
                    f"the model used up its {mission.quota.max_output_tokens} tokens before it"
                    " answered, as those that think at length do; raise"
                    " MISSION_QUOTA__MAX_OUTPUT_TOKENS, or ask for less",
                )
            elif schema is None:
                return Reply(reply.text)
            elif (answer := _as_data(reply.text)) is not None:
                return answer
            elif (misses := misses + 1) == MOST_MISSES:
                raise LLMError("invalid", f"none of {misses} answers of the model is JSON")
            else:
                turn += [LLMMessage("assistant", reply.text), LLMMessage("user", NO_JSON)]


async def _use(
    mission: Mission, reply: LLMReply, room: int, harmless: Collection[str]
) -> list[LLMMessage]:
    """Do what a reply asks for; the messages that tell the model of it."""
    calls = reply.tool_calls[:MOST_CALLS]
    if len(calls) > 1 and all(call.name in harmless for call in calls):
        results = await mission.gather(*(_call(mission, call) for call in calls))
    else:  # one after another, as the model has ordered them
        results = [await _call(mission, call) for call in calls]
    said = LLMMessage("assistant", reply.text, calls)
    answers = [
        LLMMessage("tool", cut(result, room), call_id=call.id)
        for call, result in zip(calls, results, strict=True)
    ]
    return [said, *answers]


async def _call(mission: Mission, call: LLMToolCall) -> str:
    """What a tool gave, or why it gave nothing, in words for a model."""
    try:
        arguments = orjson.loads(call.arguments or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        return "Error: the arguments are no JSON object."
    try:
        return _text(await mission.tools.call(call.name, **arguments))
    except ToolFailed as error:
        # The text of an exception that is not ours is for the log: a model would repeat it.
        return f"Error: {'it failed unexpectedly' if error.foreign else error.text}"
    except Declined:
        return "The user declined. Do not try this again unless asked to."
    except InterruptExpired:
        return "The user did not answer whether this may be done, so it was not."


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # lone surrogates, integers beyond 64 bits
        return repr(value)


def _schema(mission: Mission) -> Mapping[str, Any] | None:
    schema = mission.context.get(SCHEMA)
    if schema is not None and not isinstance(schema, dict):
        raise InvalidInput(f"context.{SCHEMA}", "must be a JSON Schema, which is an object")
    return schema


def _as_data(text: str) -> Reply | None:
    """An answer in JSON as the reply that it is; None where it is something else."""
    text = without_fence(text)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return Reply(text, value if isinstance(value, dict) else {"value": value})

"""How values and errors lie in the journal: JSON, by declared type, back and forth.

A value goes through its encoding before an orchestrator sees it, the first time too, so that a
replayed run gets exactly what the first one got.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import re
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from ..chat.text import storable
from ..errors import ChildFailed, LLMError, MissionError, QuotaExceeded, ToolFailed
from ..tools.spec import ToolStatus
from .interrupts import InterruptExpired

ERROR_TEXT = 2000
MAX_PLAIN = 1 << 20  # bytes of JSON: a reply's data, an event's payload
ANY: TypeAdapter[Any] = TypeAdapter(Any)
TEXT: TypeAdapter[str] = TypeAdapter(str)


class StepError(MissionError):
    """A step of `mission.step` raised. `type` is the name of the exception's class; `foreign`
    says that it is none of ours, so that its text is not for clients."""

    code = "STEP_FAILED"

    def __init__(self, step: str, type: str, text: str, foreign: bool = True) -> None:
        super().__init__(f"step '{step}' failed: {type}: {text}")
        self.step = step
        self.type = type
        self.text = text
        self.foreign = foreign


class StepCancelled(StepError):
    """The orchestrator cancelled a step itself, by a timeout or a task group. It saw a
    CancelledError; this is how the journal tells of it."""


class NotEncodable(MissionError):
    """A value cannot be stored as JSON, or does not come back from it as its declared type."""

    code = "NOT_ENCODABLE"


@lru_cache(maxsize=1024)
def adapter_of(type: Any) -> TypeAdapter[Any]:
    """The encoder and decoder of a type.

    Raises:
        NotEncodable: pydantic knows no JSON form of it.
    """
    try:
        return TypeAdapter(type)
    except PydanticUserError as error:
        raise NotEncodable(
            f"{type!r} has no JSON form; annotate with JSON types, dataclasses or pydantic models"
        ) from error


_declared: WeakKeyDictionary[Callable[..., Any], Any] = WeakKeyDictionary()


def declared_return(function: Callable[..., Any]) -> Any:
    """What a function is declared to give once awaited; Any when it does not say.

    Remembered for as long as the function lives: most close over a mission.
    """
    try:
        if function not in _declared:
            _declared[function] = _declared_return(function)
        return _declared[function]
    except TypeError:  # it cannot be referred to weakly, or has no hash
        return _declared_return(function)


def _declared_return(function: Callable[..., Any]) -> Any:
    try:
        declared = typing.get_type_hints(inspect.unwrap(function), include_extras=True)["return"]
    except (KeyError, TypeError):
        return Any
    except NameError as error:
        raise NotEncodable(
            f"the return annotation of {function!r} cannot be resolved ({error});"
            " import its types at run time, not only for type checking"
        ) from error
    if typing.get_origin(declared) in (Awaitable, Coroutine):
        return typing.get_args(declared)[-1]
    return declared


def encode(step: str, adapter: TypeAdapter[Any], value: Any) -> str:
    """JSON text. Raises NotEncodable naming the step."""
    try:
        return adapter.dump_json(value, warnings="error").decode()
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise NotEncodable(
            f"step '{step}' gave a {type(value).__name__}, which does not fit its declared type"
            f" or has no JSON form: {error}"
        ) from error


def decode(step: str, adapter: TypeAdapter[Any], output: str) -> Any:
    """The value. Raises NotEncodable naming the step."""
    try:
        return adapter.validate_json(output)
    except ValidationError as error:
        raise NotEncodable(
            f"the output of step '{step}' does not come back as its declared type: {error}"
        ) from error


def plain(what: str, value: Any) -> Any:
    """The value in JSON types only. Raises NotEncodable saying `what` it is, or that it is over
    `MAX_PLAIN`."""
    try:
        raw = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError as error:
        raise NotEncodable(f"{what} has no JSON form: {error}") from error
    if len(raw) > MAX_PLAIN:
        raise NotEncodable(f"{what} has {len(raw)} bytes of JSON, at most {MAX_PLAIN} are stored")
    return orjson.loads(raw)


def is_finite(value: Any) -> bool:
    """Whether no number in it is infinite or none at all: JSON has no form for such, and encoders
    put null in their place without a word."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return False
        if isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            pending += value
    return True


def digest(inputs: Any) -> str:
    """A short fingerprint of what a step was called with, the same on every run."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    try:
        raw = orjson.dumps(inputs, default=_described, option=options)
    except orjson.JSONEncodeError:  # lone surrogates, integers beyond 64 bits
        raw = _described(inputs).encode("utf-8", "backslashreplace")
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def _described(value: Any) -> str:
    """What has no JSON form, without what differs from run to run."""
    if isinstance(value, set | frozenset):
        return str(sorted(map(_described, value)))
    return _ADDRESS.sub("", repr(value))


def encode_error(step: str, error: BaseException) -> str:
    match error:
        case ToolFailed():
            kind = "ToolFailed"  # by name: a subclass comes back as what it is one of
            args: list[Any] = [error.tool, error.status, error.text, error.foreign]
        case LLMError():
            kind, args = "LLMError", [error.kind, error.message, error.retry_after]
        case ChildFailed():
            kind, args = "ChildFailed", [error.pid, error.capability, error.reason, error.text]
        case StepCancelled():
            kind, args = "StepCancelled", [error.step, error.type, error.text, error.foreign]
        case StepError():
            kind, args = "StepError", [error.step, error.type, error.text, error.foreign]
        case MissionError():
            own = [step, type(error).__name__, error.message[:ERROR_TEXT], False]
            return _pack("StepError", own)
        case _:
            return _pack("StepError", [step, type(error).__name__, str(error)[:ERROR_TEXT]])
    return _pack(kind, args)


def decode_error(text: str) -> MissionError:
    packed = orjson.loads(text)
    makers: dict[str, Callable[..., MissionError]] = {
        "ToolFailed": ToolFailed,
        "LLMError": LLMError,
        "ChildFailed": ChildFailed,
        "StepError": StepError,
        "StepCancelled": StepCancelled,
        "InterruptExpired": InterruptExpired,
        "QuotaExceeded": QuotaExceeded,
    }
    return makers[packed["type"]](*packed["args"])


def error_status(text: str) -> str:
    """The `ToolStatus` in a tool's stored error, `error` where it is another's."""
    error = decode_error(text)
    return error.status if isinstance(error, ToolFailed) else "error"


def call_status(error: str | None, step_status: str) -> str:
    """How a tool step ended, as a `ToolStatus` value: `denied` also where the quota did not allow
    it; `error` is the step's."""
    if error is None:
        return ToolStatus.ERROR if step_status == "failed" else ToolStatus.SUCCESS
    if is_cancelled(error):
        return ToolStatus.CANCELLED
    if is_exceeded(error):
        return ToolStatus.DENIED
    return error_status(error)


def public_text(error: MissionError) -> str | None:
    """Its text if that may be shown to clients, else None: it is a foreign exception's."""
    foreign = isinstance(error, StepError | ToolFailed) and error.foreign
    return None if foreign else error.message


def readable_error(text: str) -> str:
    """A stored error in words for clients."""
    error = decode_error(text)
    if (shown := public_text(error)) is not None:
        return shown
    if isinstance(error, StepError):
        return f"step '{error.step}' failed: {error.type}"
    return f"tool '{error.tool}' failed" if isinstance(error, ToolFailed) else "it failed"


def cancelled_error(step: str) -> str:
    """What a step holds that the orchestrator has cancelled."""
    text = "the orchestrator cancelled it"
    return encode_error(step, StepCancelled(step, "CancelledError", text, False))


def is_cancelled(text: str) -> bool:
    """Whether a stored error is that of `cancelled_error`."""
    return text.startswith('{"type":"StepCancelled"')


def exceeded_error(error: QuotaExceeded) -> str:
    """What a step holds that the quota did not allow."""
    return _pack("QuotaExceeded", [error.reason, error.message])


def is_exceeded(text: str) -> bool:
    """Whether a stored error is that of `exceeded_error`."""
    return text.startswith('{"type":"QuotaExceeded"')


def expired_error(question: str) -> str:
    """What the step of an interrupt that nobody answered holds."""
    return _pack("InterruptExpired", [f"nobody answered in time: {question}"])


def _pack(type: str, args: list[Any]) -> str:
    texts = [storable(arg) if isinstance(arg, str) else arg for arg in args]
    return orjson.dumps({"type": type, "args": texts}, default=str).decode()

"""Requests of programs: a message, and what its capability is to know beside it."""

from __future__ import annotations

from typing import Annotated, Any, cast

import strawberry

from ..core.capabilities import OnBusy as Policy
from ..core.chat.text import MAX_ID, MAX_MESSAGE, checked
from ..core.errors import InvalidInput
from ..core.tower.admission import MAX_CONTEXT, default_session
from ..core.tower.process import Envelope
from .arguments import idempotency_key, maybe_text
from .context import Info
from .errors import Errors
from .fields import mutation
from .node import key_of
from .process import Process
from .request import SendMessageInput, SendMessagePayload, waiting
from .scalars import JSON


@strawberry.input(
    description="A request of a program's: a message, and what its capability is to know beside it."
)
class SubmitRequestInput(SendMessageInput):
    session_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="`Session.id` or `Session.sessionId`; a session that you do not have is created"
        " under it. Null takes `session_<user id>`.",
    )
    capability: str | None = strawberry.field(
        default=None,
        description="Capability to answer; null for `context.capability`, then the session's, then"
        " the server's default.",
    )
    context: JSON | None = strawberry.field(
        default=None,
        description=f"An object for the capability: at most {MAX_CONTEXT // 1024} KiB of JSON. Its"
        " `capability` and `request_id` count as those fields where these are null.",
    )
    conversation_history: list[JSON] | None = strawberry.field(
        default=None,
        description="Taken for programs that send it, and not read: the history that counts is the"
        " session's own.",
    )


@strawberry.type(description="The request was stored and its process submitted.")
class SubmitRequestPayload(SendMessagePayload):
    pass


SubmitRequestResult = Annotated[
    SubmitRequestPayload | Errors,
    strawberry.union("SubmitRequestResult", description="The process, or why there is none."),
]


@strawberry.type
class SubmissionMutations:
    @mutation(
        "Send a request with a context for its capability. Unlike `sendMessage` it creates the"
        " session that it names."
    )
    async def submit_request(
        self,
        info: Info,
        input: Annotated[SubmitRequestInput, strawberry.argument(description="The request.")],
    ) -> SubmitRequestResult:
        caller = info.context.caller
        wait = waiting(info, input.wait, input.wait_seconds)
        request: dict[str, Any] | JSON = {} if input.context is None else input.context
        if not isinstance(request, dict):
            raise InvalidInput("context", "must be an object")
        session_id = input.session_id
        default = default_session(caller.user_id)
        request_id = maybe_text("requestId", input.request_id) or _named(request, "request_id")
        envelope = Envelope(
            caller=caller,
            message=checked("text", input.text, longest=MAX_MESSAGE),
            session_id=default if session_id is None else key_of(session_id, "Session"),
            create_session=True,
            capability=maybe_text("capability", input.capability) or _named(request, "capability"),
            request_id=request_id,
            context=request,
            on_busy=cast("Policy | None", input.on_busy and input.on_busy.value),
            idempotency_key=idempotency_key(input.idempotency_key, request_id),
        )
        done = await info.context.node.tower.submit_request(envelope, input.priority, wait=wait)
        assert done.process is not None
        return SubmitRequestPayload(process=Process.of(done.process))


def _named(request: dict[str, Any], name: str) -> str | None:
    """What a request's context says of the request itself; an empty text says nothing."""
    value = request.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"context.{name}", "must be a string")
    return checked(f"context.{name}", value, longest=MAX_ID)

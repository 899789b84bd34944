"""Requests: what starts, answers and ends processes."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, cast

import strawberry

from ..core.capabilities import OnBusy as Policy
from ..core.chat.text import MAX_ID, MAX_MESSAGE, checked
from ..core.errors import InvalidInput, NotFound
from ..core.tower.process import Envelope, InterruptKind, SchedulingPriority
from .arguments import MAX_WAIT, idempotency_key, maybe_text, wait_seconds
from .context import Info
from .errors import Errors
from .fields import field, mutation
from .message import Message, message_by_id
from .node import key_of
from .process import Process
from .session import Session

MAX_ANSWER = 2000

WAIT = (
    "Whether to wait until the process has ended or asks something. Otherwise the process is"
    " returned as it is, and subscriptions tell the rest."
)
KEY = (
    f"Name for this piece of work: 1 to {MAX_ID} characters, chosen at random. Sent again, it gives"
    " what became of the first: the work is done once. With another message, session, capability or"
    " context it is a `Conflict`. It is forgotten when its session is removed, or its process by"
    " clean-up. Not beside `requestId`."
)
WAIT_SECONDS = (
    f"How long to wait, in seconds: more than 0, at most {MAX_WAIT:g}. The process goes on after"
    " that; it is returned as it then is."
)


def waiting(info: Info, wait: bool, seconds: float) -> float | None:
    return wait_seconds(wait, seconds, info.context.node.runtime.settings.operation_timeout_seconds)


@strawberry.enum(description="What becomes of a message to a session that is still at work.")
class OnBusy(Enum):
    QUEUE = strawberry.enum_value("queue", description="It waits for its turn.")
    REJECT = strawberry.enum_value("reject", description="It is refused: `Busy`.")
    CANCEL_PREVIOUS = strawberry.enum_value(
        "cancel_previous",
        description="Whatever the session has not finished is cancelled, its questions too.",
    )


@strawberry.input(description="A message to a session.")
class SendMessageInput:
    text: str = strawberry.field(description=f"The message: 1 to {MAX_MESSAGE} characters.")
    session_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="`Session.id` or `Session.sessionId`; null creates a session for the message.",
    )
    capability: str | None = strawberry.field(
        default=None,
        description="Capability to answer; null for the session's, then the server's default.",
    )
    priority: SchedulingPriority = strawberry.field(
        default=SchedulingPriority.NORMAL, description="Place in the line."
    )
    request_id: str | None = strawberry.field(
        default=None,
        description=f"Id to know the request by: 1 to {MAX_ID} characters, used by you only once."
        " Sending it again is a `Conflict`, so that a retry cannot repeat the work, until clean-up"
        " removes the process.",
    )
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)
    on_busy: OnBusy | None = strawberry.field(
        default=None,
        description="What to do while the session is at work; null for the capability's own way.",
    )
    wait: bool = strawberry.field(default=True, description=WAIT)
    wait_seconds: float = strawberry.field(default=MAX_WAIT, description=WAIT_SECONDS)


@strawberry.type(description="The message was stored and its process submitted.")
class SendMessagePayload:
    process: Process = strawberry.field(description="The process, as far as it has come.")

    @field("The message that was stored.")
    async def user_message(self, info: Info) -> Message | None:
        return await message_by_id(info, self.process.record.message_id)

    @field("The reply; null when there is none yet, or none at all.")
    async def reply(self, info: Info) -> Message | None:
        return await message_by_id(info, self.process.record.reply_message_id)

    @field("The session that the message was sent to; null when that has just been removed.")
    async def session(self, info: Info) -> Session | None:
        return await Session.find(info, self.process.session_id)


SendMessageResult = Annotated[
    SendMessagePayload | Errors,
    strawberry.union("SendMessageResult", description="The process, or why there is none."),
]


@strawberry.input(description="The answer to a clarification.")
class AnswerClarificationInput:
    interrupt_id: strawberry.ID = strawberry.field(
        description="`Interrupt.id` or `Interrupt.interruptId`."
    )
    answer: str = strawberry.field(description=f"The answer: 1 to {MAX_ANSWER} characters.")
    wait: bool = strawberry.field(default=True, description=WAIT)
    wait_seconds: float = strawberry.field(default=MAX_WAIT, description=WAIT_SECONDS)


@strawberry.input(description="The answer to a confirmation.")
class AnswerConfirmationInput:
    interrupt_id: strawberry.ID = strawberry.field(
        description="`Interrupt.id` or `Interrupt.interruptId`."
    )
    approve: bool = strawberry.field(
        description="Whether the held action may run. False declines it: nothing runs."
    )
    wait: bool = strawberry.field(default=True, description=WAIT)
    wait_seconds: float = strawberry.field(default=MAX_WAIT, description=WAIT_SECONDS)


@strawberry.input(description="The answer to an interrupt of any kind.")
class RespondToInterruptInput:
    interrupt_id: strawberry.ID = strawberry.field(
        description="`Interrupt.id` or `Interrupt.interruptId`."
    )
    answer: str = strawberry.field(
        description=f"The answer: 1 to {MAX_ANSWER} characters; one of `Interrupt.options` where"
        " the kind of the interrupt asks for a choice."
    )
    wait: bool = strawberry.field(default=True, description=WAIT)
    wait_seconds: float = strawberry.field(default=MAX_WAIT, description=WAIT_SECONDS)


@strawberry.type(description="The answer was accepted and the process goes on.")
class AnswerPayload:
    process: Process = strawberry.field(
        description="The process, as far as it has come; where one that it has spawned had asked,"
        " still the one that the user has asked for."
    )

    @field("The reply; null when there is none yet, or none at all.")
    async def reply(self, info: Info) -> Message | None:
        return await message_by_id(info, self.process.record.reply_message_id)


AnswerResult = Annotated[
    AnswerPayload | Errors,
    strawberry.union("AnswerResult", description="The process, or why it was not answered."),
]


@strawberry.input(description="Which process to end.")
class CancelProcessInput:
    process_id: strawberry.ID = strawberry.field(
        description="`Process.id`, `Process.pid` or `Process.requestId`."
    )
    reason: str = strawberry.field(
        default="cancelled by user", description=f"Why: 1 to {MAX_ID} characters."
    )


@strawberry.type(description="The process was ended.")
class CancelProcessPayload:
    process: Process = strawberry.field(description="The process, ended.")


CancelProcessResult = Annotated[
    CancelProcessPayload | Errors,
    strawberry.union("CancelProcessResult", description="The process, or why it goes on."),
]


@strawberry.input(description="Which process to try again.")
class ResumeProcessInput:
    process_id: strawberry.ID = strawberry.field(
        description="`Process.id`, `Process.pid` or `Process.requestId`."
    )


@strawberry.type(description="The process is in line again.")
class ResumeProcessPayload:
    process: Process = strawberry.field(description="The process, ready to run.")


ResumeProcessResult = Annotated[
    ResumeProcessPayload | Errors,
    strawberry.union("ResumeProcessResult", description="The process, or why it stays blocked."),
]


@strawberry.type
class RequestMutations:
    @mutation("Store a message and have a capability answer it.")
    async def send_message(
        self,
        info: Info,
        input: Annotated[SendMessageInput, strawberry.argument(description="The message.")],
    ) -> SendMessageResult:
        context = info.context
        wait = waiting(info, input.wait, input.wait_seconds)
        envelope = Envelope(
            caller=context.caller,
            message=checked("text", input.text, longest=MAX_MESSAGE),
            session_id=None if input.session_id is None else key_of(input.session_id, "Session"),
            capability=maybe_text("capability", input.capability),
            request_id=maybe_text("requestId", input.request_id),
            idempotency_key=idempotency_key(input.idempotency_key, input.request_id),
            on_busy=cast("Policy | None", input.on_busy and input.on_busy.value),
        )
        done = await context.node.tower.submit_request(envelope, input.priority, wait=wait)
        assert done.process is not None
        return SendMessagePayload(process=Process.of(done.process))

    @mutation("Answer a clarification that a process waits for.")
    async def answer_clarification(
        self,
        info: Info,
        input: Annotated[AnswerClarificationInput, strawberry.argument(description="The answer.")],
    ) -> AnswerResult:
        return await _answer(
            info,
            InterruptKind.CLARIFICATION,
            input.interrupt_id,
            checked("answer", input.answer, longest=MAX_ANSWER),
            waiting(info, input.wait, input.wait_seconds),
        )

    @mutation("Approve or decline an action that a process holds back.")
    async def answer_confirmation(
        self,
        info: Info,
        input: Annotated[AnswerConfirmationInput, strawberry.argument(description="The answer.")],
    ) -> AnswerResult:
        return await _answer(
            info,
            InterruptKind.CONFIRMATION,
            input.interrupt_id,
            "yes" if input.approve else "no",
            waiting(info, input.wait, input.wait_seconds),
        )

    @mutation(
        "Answer an interrupt of any kind, such as the review of a step that may or may not have"
        " happened."
    )
    async def respond_to_interrupt(
        self,
        info: Info,
        input: Annotated[RespondToInterruptInput, strawberry.argument(description="The answer.")],
    ) -> AnswerResult:
        return await _answer(
            info,
            None,
            input.interrupt_id,
            checked("answer", input.answer, longest=MAX_ANSWER),
            waiting(info, input.wait, input.wait_seconds),
        )

    @mutation("End a process, wherever it is in its life.")
    async def cancel_process(
        self,
        info: Info,
        input: Annotated[CancelProcessInput, strawberry.argument(description="The process.")],
    ) -> CancelProcessResult:
        context = info.context
        record = await context.node.tower.cancel_request(
            context.caller,
            key_of(input.process_id, "Process"),
            checked("reason", input.reason, longest=MAX_ID),
        )
        return CancelProcessPayload(process=Process.of(record))

    @mutation(
        "Try a process again that is blocked by `missing_capability` or `diverged`, once what it"
        " needs is served again, as each start of the server does; or by `crashed_repeatedly`."
    )
    async def resume_process(
        self,
        info: Info,
        input: Annotated[ResumeProcessInput, strawberry.argument(description="The process.")],
    ) -> ResumeProcessResult:
        context = info.context
        pid = key_of(input.process_id, "Process")
        record = await context.node.tower.resume_process(context.caller, pid)
        return ResumeProcessPayload(process=Process.of(record))


async def _answer(
    info: Info, kind: InterruptKind | None, interrupt_id: str, answer: str, wait: float | None
) -> AnswerPayload:
    caller, tower = info.context.caller, info.context.node.tower
    key = key_of(interrupt_id, "Interrupt")
    try:
        record = await tower.resume_request(caller, key, answer, kind=kind, wait=wait)
    except NotFound:
        # A client that is told there is no such question would take it off the screen.
        asked = (await tower.get_interrupt(caller, key)).kind
        if kind is None or kind is asked:
            raise
        raise InvalidInput(
            "interruptId",
            f"its kind is {asked.name}, not {kind.name}; `respondToInterrupt` answers every kind",
        ) from None
    return AnswerPayload(process=Process.of(record))

"""What became of a request, in the forms that clients know. A thread is a process."""

from __future__ import annotations

from collections.abc import Collection

from ...core.events.bridge import spelled_out
from ...core.tower.process import (
    ANSWERABLE,
    Interrupt,
    InterruptKind,
    Outcome,
    ProcessControlBlock,
    ProcessState,
)
from .models import MessageSendResponse, SubmitRequestResponse

ENDED = (ProcessState.TERMINATED, ProcessState.ZOMBIE)


def message_outcome(process: ProcessControlBlock) -> MessageSendResponse:
    """`processing` with no question means that there is no answer yet."""
    made = MessageSendResponse(
        request_id=process.request_id, session_id=process.session_id, status="processing"
    )
    if process.state in ENDED:
        made.status = "completed" if process.outcome is Outcome.COMPLETED else "failed"
        made.response = _said(process)
    elif question := asked(process):
        _show(made, question, process)
        if made.confirmation_needed:
            made.status = "completed"
    return made


def request_outcome(process: ProcessControlBlock) -> SubmitRequestResponse:
    made = SubmitRequestResponse(request_id=process.request_id, status="processing")
    if process.state in ENDED:
        made.status = "completed" if process.outcome is Outcome.COMPLETED else "failed"
        made.response = made.response_text = _said(process)
    elif question := asked(process):
        _show(made, question, process)
        made.status = "confirmation_needed" if made.confirmation_needed else "clarification_needed"
    return made


def asked(
    process: ProcessControlBlock, kinds: Collection[InterruptKind] = ANSWERABLE
) -> Interrupt | None:
    """The oldest open question of these kinds; of others a client sees that it is `processing`."""
    return next((each for each in process.interrupts if each.kind in kinds), None)


def _show(
    made: MessageSendResponse | SubmitRequestResponse,
    question: Interrupt,
    process: ProcessControlBlock,
) -> None:
    if question.kind is InterruptKind.CONFIRMATION:
        made.confirmation_needed = True
        made.confirmation_message = question.question
        made.confirmation_id = question.id
    else:
        made.clarification_needed = True
        made.clarification_question = spelled_out(question.question, question.options)
        made.thread_id = process.pid


def _said(process: ProcessControlBlock) -> str | None:
    if process.outcome is Outcome.COMPLETED:
        return process.reply
    return process.error or process.reason

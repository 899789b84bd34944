"""Changes of messages: edited, deleted."""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..core.chat.text import MAX_MESSAGE, checked
from .context import Info
from .errors import Errors
from .fields import mutation
from .message import Message
from .node import key_of, number_of
from .scalars import Long

_ID = "`Message.id` or `Message.messageId`."


def _number(id: str) -> int:
    return number_of("Message", key_of(id, "Message"))


@strawberry.input(description="A new text for a message of the user's.")
class EditMessageInput:
    message_id: strawberry.ID = strawberry.field(description=_ID)
    content: str = strawberry.field(description=f"The text: 1 to {MAX_MESSAGE} characters.")


@strawberry.type(description="The message was changed.")
class EditMessagePayload:
    user_message: Message = strawberry.field(description="The message as it is now.")


EditMessageResult = Annotated[
    EditMessagePayload | Errors,
    strawberry.union("EditMessageResult", description="The message, or why it is unchanged."),
]


@strawberry.input(description="Which message to delete, and how.")
class DeleteMessageInput:
    message_id: strawberry.ID = strawberry.field(description=_ID)
    soft: bool = strawberry.field(
        default=True, description="Softly, it is hidden. Otherwise it is removed for good."
    )


@strawberry.type(description="The message was deleted.")
class DeleteMessagePayload:
    message_id: Long = strawberry.field(description="`Message.messageId` of the message.")
    soft: bool = strawberry.field(description="Whether it is only hidden.")


DeleteMessageResult = Annotated[
    DeleteMessagePayload | Errors,
    strawberry.union("DeleteMessageResult", description="What was deleted, or why it was not."),
]


@strawberry.type
class MessageMutations:
    @mutation(
        "Change what the user said. The first edit keeps the text before it in `originalContent`;"
        " nothing is answered anew."
    )
    async def edit_message(
        self,
        info: Info,
        input: Annotated[EditMessageInput, strawberry.argument(description="The change.")],
    ) -> EditMessageResult:
        context = info.context
        content = checked("content", input.content, longest=MAX_MESSAGE)
        record = await context.node.chat.edit_message(
            context.caller, _number(input.message_id), content
        )
        return EditMessagePayload(user_message=Message.of(record))

    @mutation("Delete a message, whoever said it. Deleting softly twice is no error.")
    async def delete_message(
        self,
        info: Info,
        input: Annotated[DeleteMessageInput, strawberry.argument(description="The message.")],
    ) -> DeleteMessageResult:
        context, number = info.context, _number(input.message_id)
        await context.node.chat.delete_message(context.caller, number, soft=input.soft)
        return DeleteMessagePayload(message_id=Long(number), soft=input.soft)

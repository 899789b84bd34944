"""At the tower's door: which requests come in."""

from __future__ import annotations

from typing import get_args

import orjson

from ..capabilities import OnBusy
from ..chat.text import MAX_ID, MAX_MESSAGE, checked
from ..errors import InvalidInput
from .process import Envelope

MAX_CONTEXT = 64 * 1024  # bytes of JSON


def check_request(envelope: Envelope) -> None:
    """What a surface has not checked.

    Raises:
        InvalidInput: naming the field.
    """
    checked("message", envelope.message, longest=MAX_MESSAGE)
    if envelope.session_id is not None:
        checked("session_id", envelope.session_id, longest=MAX_ID)
    if envelope.request_id is not None:
        checked("request_id", envelope.request_id, longest=MAX_ID)
    if envelope.on_busy not in (None, *get_args(OnBusy)):
        raise InvalidInput("on_busy", f"choose one of: {', '.join(get_args(OnBusy))}")
    try:
        size = len(orjson.dumps(envelope.context))
    except orjson.JSONEncodeError as error:
        raise InvalidInput("context", f"is not JSON: {error}") from None
    if size > MAX_CONTEXT:
        text = f"has {size} bytes of JSON, at most {MAX_CONTEXT} are taken"
        raise InvalidInput("context", text)

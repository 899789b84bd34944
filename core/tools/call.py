"""What a tool's function can learn about the call it is running in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_idempotency_key: ContextVar[str | None] = ContextVar("mission_idempotency_key", default=None)


def idempotency_key() -> str | None:
    """The key of the running call, the same when it is repeated after a crash; pass it on to a
    service that drops repeats. None outside a tool, and where the caller gave none."""
    return _idempotency_key.get()


@contextmanager
def calling(key: str | None) -> Iterator[None]:
    """Make `key` what `idempotency_key` gives inside the block."""
    token = _idempotency_key.set(key)
    try:
        yield
    finally:
        _idempotency_key.reset(token)

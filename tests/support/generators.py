"""What becomes of generators that somebody was reading."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import AsyncGeneratorType
from typing import Any


def is_closed(generator: AsyncGenerator[Any, None]) -> bool:
    """Whether it has ended or was closed: it holds nothing any more."""
    assert isinstance(generator, AsyncGeneratorType)
    return generator.ag_frame is None

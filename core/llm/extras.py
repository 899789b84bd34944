"""What the built-in providers of real models need to be installed: the extra, and its libraries."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

_OPENAI = ("openai", ("pydantic_ai", "openai"))
_EXTRAS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "openai": _OPENAI,
    "anthropic": ("anthropic", ("pydantic_ai", "anthropic")),
    "azure": _OPENAI,
    "llamaserver": _OPENAI,
    "llamacpp": ("llamacpp", ("xllamacpp",)),
}


def missing_extra(provider: str) -> str | None:
    """What `pip install` lacks for a built-in provider, such as `mission-system[openai]`; None
    where its libraries are there. Imports none of them."""
    _, libraries = _EXTRAS[provider]
    return requirement(provider) if any(find_spec(each) is None for each in libraries) else None


def requirement(provider: str) -> str:
    """What `pip install` takes for a built-in provider."""
    return f"mission-system[{_EXTRAS[provider][0]}]"

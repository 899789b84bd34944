"""Providers of real models. Nothing of theirs is imported before a model is first asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from ...core.errors import LLMError
from ...core.llm import vendors
from ...core.llm.credentials import read_credentials
from ...core.llm.lazy import LazyProvider
from ..hookspecs import hookimpl

if TYPE_CHECKING:
    from ...core.llm.credentials import Credentials
    from ...core.llm.provider import LLMProvider
    from ...core.settings import Settings


@hookimpl
def register_llm_providers() -> Mapping[str, Callable[[Settings], LLMProvider]]:
    return {
        "openai": partial(make, "openai", "openai", vendors.load_openai),
        "anthropic": partial(make, "anthropic", "anthropic", vendors.load_anthropic),
        "azure": partial(make, "azure", "openai", vendors.load_azure),
        "llamaserver": partial(make, "llamaserver", "openai", vendors.load_llamaserver),
        "llamacpp": partial(make, "llamacpp", "llamacpp", vendors.load_llamacpp),
    }


def make(
    name: str, extra: str, load: Callable[[Credentials], LLMProvider], _settings: Settings
) -> LLMProvider:
    """A provider with the credentials of the environment; `extra` is what it needs installed.

    Raises:
        LLMError: something is not set (kind `auth`), or wrong (`invalid`); the message names it.
    """
    credentials = read_credentials()
    if missing := credentials.missing(name):
        raise LLMError("auth", f"{name} needs {', '.join(missing)} to be set", provider=name)
    at_once = credentials.llamacpp_parallel if name == "llamacpp" else None
    return LazyProvider(name, extra, partial(load, credentials), at_once)

"""Providers of real models. Nothing of theirs is imported before a model is first asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ...core.errors import LLMError
from ...core.llm import vendors
from ...core.llm.credentials import read_credentials
from ...core.llm.lazy import LazyProvider
from ...core.llm.roles import providers_in_use
from ..hookspecs import hookimpl

if TYPE_CHECKING:
    from ...core.llm.credentials import Credentials
    from ...core.llm.provider import LLMProvider
    from ...core.runtime import MissionRuntime
    from ...core.settings import Settings
    from ..hookspecs import PluginContext


@dataclass(frozen=True, slots=True)
class Source:
    """Where a provider comes from: what loads it, and the extra with the libraries for that."""

    load: Callable[[Credentials], LLMProvider]
    extra: str
    libraries: tuple[str, ...]


SOURCES = {
    "openai": Source(vendors.load_openai, "openai", ("pydantic_ai", "openai")),
    "anthropic": Source(vendors.load_anthropic, "anthropic", ("pydantic_ai", "anthropic")),
    "azure": Source(vendors.load_azure, "openai", ("pydantic_ai", "openai")),
    "llamaserver": Source(vendors.load_llamaserver, "openai", ("pydantic_ai", "openai")),
    "llamacpp": Source(vendors.load_llamacpp, "llamacpp", ("xllamacpp",)),
}


@hookimpl
def register_llm_providers() -> Mapping[str, Callable[[Settings], LLMProvider]]:
    return {name: partial(make, name) for name in SOURCES}


@hookimpl
async def runtime_started(context: PluginContext, runtime: MissionRuntime) -> None:
    """Say at the start what the first call would run into."""
    used = {name for chain in providers_in_use(runtime.settings).values() for name in chain}
    for name in sorted(used & SOURCES.keys()):
        source = SOURCES[name]
        if any(find_spec(library) is None for library in source.libraries):
            fix = f"pip install 'mission-system[{source.extra}]'"
            context.logger.warning("llm.extra_missing", provider=name, fix=fix)


def make(name: str, _settings: Settings) -> LLMProvider:
    """A provider with the credentials of the environment.

    Raises:
        LLMError: something is not set (kind `auth`), or wrong (`invalid`); the message names it.
    """
    credentials = read_credentials()
    if missing := credentials.missing(name):
        raise LLMError("auth", f"{name} needs {', '.join(missing)} to be set", provider=name)
    source = SOURCES[name]
    at_once = credentials.llamacpp_parallel if name == "llamacpp" else None
    return LazyProvider(name, source.extra, partial(source.load, credentials), at_once)

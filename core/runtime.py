"""The framework's primitives for capabilities, bundled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .clock import SECOND
from .configs import ConfigRegistry, Configs
from .llm.breaker import ProviderStatus
from .llm.factory import LLMFactory
from .llm.mock import MockProvider
from .llm.provider import LLMProvider
from .llm.roles import targets_of
from .prompts import Prompt, Prompts
from .services import Services
from .settings import Settings
from .storage.database import make_database
from .storage.persistence import Persistence
from .timings import Timings
from .tools.breaker import BreakerRules
from .tools.breakers import Breakers
from .tools.catalog import ToolCatalog
from .tools.executor import CatalogExecutor
from .tools.spec import ToolExecutor, ToolRegistry
from .tools.threads import ThreadPool
from .tower.journal import outside_recorder

DEFAULT_THREADS = 16


@dataclass(frozen=True)
class MissionRuntime:
    """What a capability is built from.

    `llm_provider_factory` is None and `mock_provider` set when the runtime uses the mock.
    `persistence` is not open yet: whoever serves the runtime opens it.
    """

    persistence: Persistence
    tool_executor: ToolExecutor
    settings: Settings
    config_registry: ConfigRegistry
    llm_provider_factory: Callable[[str], LLMProvider] | None = None
    mock_provider: LLMProvider | None = None
    tool_registry: ToolRegistry = field(kw_only=True, default_factory=ToolCatalog)
    threads: ThreadPool = field(kw_only=True, default_factory=lambda: ThreadPool(DEFAULT_THREADS))
    prompts: Prompts = field(kw_only=True, default_factory=Prompts)
    breakers: Breakers = field(kw_only=True, default_factory=Breakers)
    timings: Timings = field(kw_only=True, default_factory=Timings)
    services: Services = field(kw_only=True, default_factory=Services)

    def llm(self, role: str) -> LLMProvider:
        """What plays this role (`writer`, `planner`, ...)."""
        if self.mock_provider is not None:
            return self.mock_provider
        if self.llm_provider_factory is None:
            raise ValueError("a runtime needs llm_provider_factory or mock_provider")
        return self.llm_provider_factory(role)

    @property
    def provider_name(self) -> str:
        return "mock" if self.mock_provider is not None else self.settings.llm_provider

    def provider_breakers(self) -> list[ProviderStatus]:
        """Of the LLM providers in use, by name. Empty where a caller has brought the factory."""
        if isinstance(self.llm_provider_factory, LLMFactory):
            return self.llm_provider_factory.breakers()
        return [] if self.mock_provider is None else [ProviderStatus(self.mock_provider.name)]

    def provider_of(self, role: str) -> str:
        """Name of the provider that is asked first to play this role."""
        if self.mock_provider is not None:
            return "mock"
        return targets_of(self.settings, role)[0].provider


def create_mission_runtime(
    tool_registry: ToolRegistry,
    persistence: Persistence | None = None,
    settings: Settings | None = None,
    use_mock: bool = False,
    config_registry: ConfigRegistry | None = None,
    *,
    prompts: Iterable[Prompt] = (),
    services: Services | None = None,
) -> MissionRuntime:
    """Build a runtime. What is not given is made from the settings.

    Args:
        tool_registry: the tools to serve; see `ToolCatalog`.
        persistence: where everything is stored; by default the database of the settings.
        settings: by default read from the environment.
        use_mock: answer with the deterministic mock provider, whatever the settings say.
        config_registry: where capabilities put their configs.
        prompts: those of the capabilities; the settings may override them.
        services: theirs. Whoever serves the runtime opens and closes them.
    """
    settings = settings or Settings()
    threads = ThreadPool(settings.tool_threads)
    storage = make_database(settings) if persistence is None else persistence
    recorder = outside_recorder(storage)
    registry = Prompts(settings.prompts)
    for prompt in prompts:
        registry.register(prompt)
    breakers = Breakers(
        BreakerRules(
            settings.breaker_policy,
            settings.breaker_policies,
            int(settings.breaker_cooldown_seconds * SECOND),
        )
    )
    return MissionRuntime(
        persistence=storage,
        tool_executor=CatalogExecutor(tool_registry, threads, recorder=recorder, breakers=breakers),
        settings=settings,
        config_registry=Configs() if config_registry is None else config_registry,
        llm_provider_factory=None if use_mock else LLMFactory(settings),
        mock_provider=MockProvider() if use_mock else None,
        tool_registry=tool_registry,
        threads=threads,
        prompts=registry,
        breakers=breakers,
        services=Services() if services is None else services,
    )

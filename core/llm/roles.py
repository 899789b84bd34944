"""Who plays which role: provider, model and parameters, and who steps in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from .provider import LLMParameters

if TYPE_CHECKING:
    from ..settings import Settings

DEFAULT_ROLE = "default"
ProviderName = Annotated[str, Field(min_length=1, max_length=64)]


class _Manner(BaseModel):
    """What may be said of a model, wherever one is named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(default=None, min_length=1, max_length=200)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=1 << 31)
    stop: tuple[str, ...] = Field(default=(), max_length=8)
    timeout_seconds: float | None = Field(default=None, gt=0, le=3600)

    @property
    def parameters(self) -> LLMParameters:
        given = LLMParameters()
        if self.temperature is not None:
            given["temperature"] = self.temperature
        if self.top_p is not None:
            given["top_p"] = self.top_p
        if self.seed is not None:
            given["seed"] = self.seed
        if self.stop:
            given["stop"] = list(self.stop)
        return given


class LLMTarget(_Manner):
    """A provider and what to ask it for; without `model`, the provider chooses."""

    provider: ProviderName


class RoleSettings(_Manner):
    """One role. `fallbacks` are tried in order while those before them fail.

    Without `provider` it is the server's (`llm_provider`).
    """

    provider: ProviderName | None = None
    fallbacks: tuple[LLMTarget, ...] = Field(default=(), max_length=8)


def targets_of(settings: Settings, role: str) -> tuple[LLMTarget, ...]:
    """Whom to ask, in order: as the role's own settings say, else those of `default`."""
    roles = settings.llm_roles
    own = roles.get(role) or roles.get(DEFAULT_ROLE) or RoleSettings()
    provider = own.provider or settings.llm_provider
    model = own.model
    if model is None and provider == settings.llm_provider:
        model = settings.llm_model
    said = own.model_dump(exclude={"provider", "model", "fallbacks"})
    return (LLMTarget(provider=provider, model=model, **said), *own.fallbacks)


def providers_in_use(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The providers of each role that has settings, and of all others under `default`."""
    return {
        role: tuple(target.provider for target in targets_of(settings, role))
        for role in dict.fromkeys((DEFAULT_ROLE, *settings.llm_roles))
    }

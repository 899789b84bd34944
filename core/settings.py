"""Every setting of the server, from the environment (`MISSION_*`), `.env` or arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .llm.prices import Prices
from .llm.roles import RoleSettings
from .prompts import PromptOverrides
from .tools.breaker import BreakerPolicy
from .tower.policy import ToolRules
from .tower.process import Quota


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        raise ValueError("separate names with commas, without brackets")
    return [part.strip() for part in value.split(",") if part.strip()]


ORIGIN = re.compile(r"https?://[^/?#@\s*]+/?", re.IGNORECASE)
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Several names; in the environment, with commas between them."""


class Settings(BaseSettings):
    """Settings of one server. Unknown `MISSION_*` variables are left to plugins."""

    model_config = SettingsConfigDict(
        env_prefix="MISSION_",
        env_file=".env",
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        validate_default=True,
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    data: Path = Field(
        default=Path("mission-data"), description="Folder that holds everything this server stores."
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="postgres://user:password@host/database; none is SQLite in the data folder.",
    )
    standby: bool = Field(
        default=True,
        description="Wait while another server uses the PostgreSQL database, and serve when that"
        " one has ended; false refuses to start.",
    )
    insecure: bool = Field(
        default=False,
        description="Serve other machines without authentication. Only behind a guard.",
    )
    auth: Literal["none", "tokens"] = Field(
        default="none",
        description="none: whoever reaches the server is believed, for one person's machine."
        " tokens: callers show one made by `mission token create`.",
    )
    allowed_hosts: Names = Field(
        default=(), description="Names, beside the loopback ones, that a Host header may carry."
    )
    allowed_origins: Names = Field(
        default=(), description="Origins, beside the server's own, whose pages may call it."
    )

    default_capability: str = Field(
        default="assistant",
        description="Capability of a request that names none, where it is loaded.",
    )
    disabled_plugins: Names = Field(
        default=(), description="Names of installed plugins that are not loaded."
    )
    llm_attempts: int = Field(
        default=3,
        ge=1,
        le=20,
        description="Calls of an LLM for one reply, while it is unavailable or limits its rate.",
    )
    llm_provider: str = Field(default="mock", description="Provider of LLM replies.")
    llm_model: str | None = Field(
        default=None, description="Model that it is asked for; none: the provider's own choice."
    )
    llm_roles: Mapping[str, RoleSettings] = Field(
        default={},
        description="By role: `provider`, `model`, `temperature`, `top_p`, `seed`, `stop`,"
        " `timeout_seconds`, and `fallbacks`, a list of the same; `default` is every other role."
        " JSON in the environment.",
    )
    llm_prices: Prices = Field(
        default={},
        description="By `provider/model` or `provider/*`: `input` and `output`, the price of a"
        " million tokens, in any one currency. JSON in the environment.",
    )
    llm_concurrency: int = Field(
        default=16, ge=1, le=10_000, description="Calls of one LLM provider at once; more wait."
    )
    llm_concurrency_of: Mapping[str, Annotated[int, Field(ge=1, le=10_000)]] = Field(
        default={}, description="The same, by provider. JSON in the environment."
    )
    llm_timeout_seconds: float = Field(
        default=120,
        gt=0,
        le=3600,
        description="Longest call of an LLM provider, and longest wait for one's turn.",
    )
    llm_breaker_failures: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Failures in a row after which an LLM provider is left alone.",
    )
    llm_breaker_seconds: float = Field(
        default=30, gt=0, le=3600, description="For how long; then one call tries."
    )
    running_slots: int = Field(
        default=64, ge=1, le=10_000, description="Processes running at once."
    )
    max_ready: int = Field(
        default=10_000, ge=1, description="Processes waiting for a slot, in all."
    )
    max_depth: int = Field(
        default=5, ge=0, le=50, description="Levels of child processes below a request."
    )
    max_backlog: int = Field(default=100, ge=1, description="Processes waiting in one session.")
    quota: Quota = Field(default_factory=Quota, description="Quota of a process.")
    tool_policy: ToolRules = Field(
        default=(),
        description="Which tools run, ask first, or are refused: rules with any of `user`,"
        " `capability` and `tool`, and a `decision` (`allow`, `confirm`, `deny`); the most specific"
        " one wins. JSON in the environment.",
    )
    prompts: PromptOverrides = Field(
        default_factory=dict[str, int | str],
        description="By name of a prompt: the version to use, or a text to use in its place. JSON"
        " in the environment.",
    )
    breaker_policy: BreakerPolicy = Field(
        default="log_and_enforce",
        description="What circuit breakers of tools do: `off`, `log_only` (tell of a tool that"
        " keeps failing, and let it be called), `log_and_enforce` (refuse its calls for a while).",
    )
    breaker_policies: dict[str, BreakerPolicy] = Field(
        default_factory=dict[str, BreakerPolicy],
        description="The same for single tools, by name. JSON in the environment.",
    )
    breaker_cooldown_seconds: float = Field(
        default=60, gt=0, le=86_400, description="How long a breaker stays open before a trial."
    )
    retention_days: int = Field(
        default=30,
        ge=0,
        le=36_500,
        description="Days for which ended processes and events are kept. Messages stay.",
    )
    retention_processes: int = Field(
        default=1000, ge=0, le=1_000_000, description="Ended requests that a session keeps."
    )
    cleanup_seconds: float = Field(
        default=3600,
        ge=0,
        description="Time between rounds of clean-up; 0 leaves it to `mission cleanup`.",
    )
    rate_limits: Names = Field(
        default=(),
        description="How often a user may send, such as 60/minute; several must all have room."
        " Needs the extra `limits`.",
    )
    rate_limit_storage: str = Field(
        default="async+memory://",
        description="Where that is counted; async+redis://host:port counts for several servers"
        " (extra `redis`).",
    )
    max_tokens_per_day: int | None = Field(
        default=None,
        ge=1,
        description="Tokens, in and out, of one user's LLM calls on one day (UTC); none: no limit.",
    )
    tool_threads: int = Field(
        default=16, ge=1, le=256, description="Threads for sync tools and steps."
    )

    max_restarts: int = Field(
        default=3,
        ge=0,
        description="How often in a row a process that the server died under is run again without"
        " a new step; then it is blocked: `crashed_repeatedly`.",
    )
    shutdown_seconds: float = Field(
        default=10, ge=0, le=600, description="Time to finish running work before it is parked."
    )
    max_body_bytes: int = Field(
        default=1 << 20, ge=1024, description="Largest request body, in bytes."
    )
    max_response_bytes: int = Field(
        default=32 << 20,
        ge=1024,
        description="Largest result of a GraphQL operation, or of one event of a subscription, in"
        " bytes of JSON.",
    )
    operation_timeout_seconds: float = Field(
        default=330,
        gt=0,
        description="Longest GraphQL query or mutation, waiting for a reply included.",
    )
    introspection: bool = Field(
        default=True,
        description="Whether clients may ask for the schema, as GraphiQL does to help with typing.",
    )
    max_batch: int = Field(
        default=1,
        ge=1,
        le=50,
        description="GraphQL operations in one HTTP request, as a JSON array; 1: no batches.",
    )
    max_user_subscriptions: int = Field(
        default=1000,
        ge=1,
        description="Subscriptions that one user has open at once, over all connections.",
    )
    max_socket_operations: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Operations under way on one WebSocket at once, subscriptions included.",
    )
    rest_wait_seconds: float = Field(
        default=300,
        gt=0,
        le=3600,
        description="Longest that a REST call waits for an outcome; the process goes on after it.",
    )
    rest_deprecated_at: AwareDatetime | None = Field(
        default=None,
        description="Since when the REST API is deprecated, such as 2027-01-01T00:00:00Z: its"
        " answers say so (`Deprecation`).",
    )
    rest_sunset_at: AwareDatetime | None = Field(
        default=None, description="When the REST API will go: its answers say so (`Sunset`)."
    )
    websocket_ping_seconds: float = Field(
        default=30, gt=0, description="Silence after which a client of /ws is sent a ping."
    )
    websocket_idle_seconds: float = Field(
        default=120, gt=0, description="Silence after which a client of /ws is dropped."
    )
    websocket_backlog: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Events that may wait for a client of /ws that reads slowly; then it is"
        " dropped.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, JSON elsewhere."
    )

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("postgres:", "postgresql:")):
            raise ValueError("must start with postgres:// or postgresql://")
        return url

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"'{origin[:100]}' is no origin; write a scheme and a host, and no path:"
                    " https://app.example.com"
                )
        return tuple(origin.lower().removesuffix("/") for origin in origins)

    @model_validator(mode="after")
    def _goes_after_it_is_deprecated(self) -> Settings:
        since, until = self.rest_deprecated_at, self.rest_sunset_at
        if since is not None and until is not None and until < since:
            raise ValueError("rest_sunset_at must not be before rest_deprecated_at")
        return self

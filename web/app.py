"""The composition root: the one place where core, plugins, schema and web meet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from .. import schema
from ..core.capabilities import CapabilityRegistry
from ..core.errors import MissionError
from ..core.llm.factory import LLMFactory
from ..core.llm.roles import providers_in_use
from ..core.node import Node
from ..core.runtime import MissionRuntime, create_mission_runtime
from ..core.settings import Settings
from ..plugins.host import PluginHost
from ..plugins.loader import load_plugins
from ..plugins.variables import unknown_variables
from . import metrics, probes, ws
from .auth import USER_HEADER
from .body import BodyLimit
from .failures import GRAPHQL, Incidents, http_error, mission_error
from .graphql.operation import PREFLIGHT_HEADERS
from .graphql.view import GraphQLView
from .guard import Guard, refuse_unsafe
from .lifespan import lifespan
from .plugin_routes import routes_of
from .rest import table as rest
from .rest.deprecation import Deprecated, deprecation_headers
from .rest.submission import KEY_HEADER
from .state import AppState

log = structlog.get_logger(__name__)

EXPOSED = ["Content-Disposition", "Deprecation", "Link", "Retry-After", "Sunset", "X-Request-Id"]
GRAPHIQL = Path(schema.__path__[0]) / "static" / "graphiql"
GOVERNANCE = Path(__file__).parent / "static" / "governance"


def create_app(
    settings: Settings | None = None, plugins: Iterable[object] | None = None
) -> Starlette:
    """The ASGI application of one server. Touches no data before its lifespan starts.

    `settings` None reads the environment. `plugins` are modules or objects given by the embedding
    program, served beside the installed ones.

    Raises:
        UnsafeSettings: other machines could come in without authentication.
        pydantic.ValidationError: the environment holds a setting that does not validate.
    """
    settings = settings or Settings()
    refuse_unsafe(settings)
    host = load_plugins(settings, plugins)
    runtime = _runtime(settings, host)
    capabilities = CapabilityRegistry(host.orchestrators, settings.default_capability)
    node = Node(runtime, capabilities, host.readiness_checks)
    for layer in host.memory_layers:
        node.memory_layers.register(layer)
    for indicator in host.alignment_indicators:
        node.alignment.register(indicator)
    node.health.register("plugins", probes.plugins_check(host), timeout=1)
    capability = probes.capability_check(settings, capabilities)
    node.health.register("capability", capability, timeout=1)
    _warn_of_unknown_names(runtime, node.capabilities)
    _warn_of_unknown_variables(host)
    state = AppState(settings, host, node)
    graphql = GraphQLView(settings, host)
    app = Starlette(
        routes=[
            Route(GRAPHQL, graphql),  # what is asked most comes first: routes are tried in turn
            WebSocketRoute(GRAPHQL, graphql),
            *rest.routes,
            *ws.routes,
            *probes.routes,
            *metrics.routes,
            Mount("/static/graphiql", StaticFiles(directory=GRAPHIQL)),
            Mount("/static/governance", StaticFiles(directory=GOVERNANCE)),
            *routes_of(host),
        ],
        middleware=_middleware(state),
        exception_handlers={HTTPException: http_error, MissionError: mission_error},
        lifespan=lifespan,
    )
    app.state = state
    return app


def _runtime(settings: Settings, host: PluginHost) -> MissionRuntime:
    runtime = create_mission_runtime(
        host.tools,
        settings=settings,
        use_mock=settings.llm_provider == "mock" and not settings.llm_roles,
        config_registry=host.configs,
        prompts=host.prompts,
        services=host.services,
    )
    if isinstance(runtime.llm_provider_factory, LLMFactory):
        for name, make in host.llm_providers.items():
            try:
                runtime.llm_provider_factory.register(name, make)
            except ValueError as error:
                # The name of a provider of the server's own: the rest of the plugin serves.
                log.error("llm.provider_refused", provider=name, reason=str(error))
    return runtime


def _warn_of_unknown_names(runtime: MissionRuntime, capabilities: CapabilityRegistry) -> None:
    """Say at the start what each request would run into; what needs neither name is served."""
    settings, factory = runtime.settings, runtime.llm_provider_factory
    if isinstance(factory, LLMFactory):
        for role, providers in providers_in_use(settings).items():
            for provider in providers:
                if provider not in factory:
                    own = provider != settings.llm_provider
                    setting = "MISSION_LLM_ROLES" if own else "MISSION_LLM_PROVIDER"
                    log.error(
                        "settings.unknown_llm_provider",
                        provider=provider,
                        role=role,
                        fix=f"in {setting} name one of: {', '.join(factory)}",
                    )
    for problem in runtime.prompts.problems():
        log.warning("settings.unusable_prompt", problem=problem, fix="correct MISSION_PROMPTS")
    if settings.default_capability not in capabilities:
        names = ", ".join(spec.name for spec in capabilities)
        log.warning(
            "settings.unknown_default_capability",
            capability=settings.default_capability,
            fix=f"set MISSION_DEFAULT_CAPABILITY to one of: {names}",
        )


def _warn_of_unknown_variables(host: PluginHost) -> None:
    """By name alone: the value may be a secret."""
    for variable, meant in unknown_variables(report.name for report in host.reports).items():
        fix = f"write {meant}" if meant else "remove it"
        log.warning("settings.unknown_variable", variable=variable, fix=f"nobody reads it; {fix}")


def _middleware(state: AppState) -> list[Middleware]:
    """Outermost first."""
    settings = state.settings
    stack = [Middleware(probes.Liveness, state)]
    if told := deprecation_headers(settings):
        stack.append(Middleware(Deprecated, told))
    stack += [
        Middleware(Incidents, lambda: state.phase == "draining"),
        Middleware(Guard, settings),
    ]
    if settings.allowed_origins:
        stack.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins,
                allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
                allow_headers=[
                    *("Authorization", "Content-Type", USER_HEADER, KEY_HEADER),
                    *PREFLIGHT_HEADERS,
                ],
                expose_headers=EXPOSED,
            )
        )
    # Within CORS: a page of an allowed origin is to read these refusals too.
    stack += [
        Middleware(BodyLimit, settings.max_body_bytes),
        Middleware(probes.Started, state),
    ]
    return stack

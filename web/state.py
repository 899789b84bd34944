"""What hangs on `app.state`: the parts of one running server, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from starlette.datastructures import State
from starlette.requests import HTTPConnection

from ..core.errors import InvalidInput
from ..core.events.bridge import EventBridge
from .auth import Authenticator
from .event_manager import WebSocketEventManager

if TYPE_CHECKING:
    from ..core.capabilities import OrchestratorSpec
    from ..core.chat.service import ChatService
    from ..core.health.checker import HealthChecker
    from ..core.node import Node
    from ..core.settings import Settings
    from ..core.storage.persistence import Persistence
    from ..core.tools.health import ToolHealthService
    from ..core.tools.spec import ToolRegistry
    from ..core.tower.control_tower import ControlTower
    from ..plugins.host import PluginHost

Phase = Literal["new", "starting", "standby", "serving", "draining", "stopped"]


class AppState(State):
    """The parts of one server. They exist from the start and may be used while `serving`."""

    settings: Settings
    plugins: PluginHost
    node: Node
    phase: Phase
    auth: Authenticator
    event_bridge: EventBridge
    event_manager: WebSocketEventManager
    tool_health_service: ToolHealthService

    def __init__(self, settings: Settings, plugins: PluginHost, node: Node) -> None:
        # Kept where attributes are looked for first: every request reads some.
        super().__init__(self.__dict__)
        self.settings = settings
        self.plugins = plugins
        self.node = node
        self.event_bridge = EventBridge()
        self.event_manager = WebSocketEventManager(node, self.event_bridge)
        self.tool_health_service = node.tool_health
        self.phase = "new"
        self.auth = Authenticator(settings, node.tokens)

    @property
    def db(self) -> Persistence:
        return self.node.database

    @property
    def tool_catalog(self) -> ToolRegistry:
        return self.node.runtime.tool_registry

    @property
    def control_tower(self) -> ControlTower:
        return self.node.tower

    @property
    def chat_service(self) -> ChatService:
        return self.node.chat

    @property
    def health_checker(self) -> HealthChecker:
        return self.node.health

    @property
    def orchestrator(self) -> OrchestratorSpec | None:
        """What answers a request that names no capability; None when there is no clear choice."""
        try:
            return self.node.capabilities.choose(None)
        except InvalidInput:
            return None


def state_of(connection: HTTPConnection) -> AppState:
    """The state of the server that a request or WebSocket came to."""
    return cast(AppState, connection.app.state)

"""Mission System: what a capability author and an embedding program import.

Everything here is loaded on first use, so that `import mission_system` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.alignment.indicator import IndicatorSpec, Measurement
    from .core.capabilities import OrchestratorSpec, Reply
    from .core.configs import ConfigRegistry
    from .core.errors import (
        Busy,
        ChildFailed,
        Conflict,
        Forbidden,
        InvalidInput,
        LLMError,
        MissionError,
        NotFound,
        QuotaExceeded,
        ToolFailed,
        Unavailable,
    )
    from .core.events.event import Event
    from .core.health.result import ComponentHealth, ComponentStatus
    from .core.identity import Caller
    from .core.llm.provider import (
        LLMChunk,
        LLMMessage,
        LLMProvider,
        LLMReply,
        LLMRequest,
        LLMUsage,
    )
    from .core.memory.layers import LayerStatus, MemoryLayerSpec
    from .core.prompts import Prompt
    from .core.retry import Retry
    from .core.runtime import MissionRuntime, create_mission_runtime
    from .core.settings import Settings
    from .core.storage.database import Persistence, Transaction
    from .core.tools.catalog import ToolCatalog
    from .core.tools.decorator import tool
    from .core.tools.spec import ToolExecutor, ToolRegistry, ToolResult, ToolSpec
    from .core.tower.control_tower import ControlTower
    from .core.tower.interrupts import Declined, InterruptExpired
    from .core.tower.mission import Mission
    from .core.tower.process import Envelope, ProcessControlBlock, Quota, SchedulingPriority
    from .core.version import __version__
    from .plugins.hookspecs import PluginContext, hookimpl
    from .web.app import create_app

_HOMES = {
    "core.alignment.indicator": ("IndicatorSpec", "Measurement"),
    "core.capabilities": ("OrchestratorSpec", "Reply"),
    "core.configs": ("ConfigRegistry",),
    "core.errors": (
        "Busy",
        "ChildFailed",
        "Conflict",
        "Forbidden",
        "InvalidInput",
        "LLMError",
        "MissionError",
        "NotFound",
        "QuotaExceeded",
        "ToolFailed",
        "Unavailable",
    ),
    "core.events.event": ("Event",),
    "core.health.result": ("ComponentHealth", "ComponentStatus"),
    "core.identity": ("Caller",),
    "core.llm.provider": (
        "LLMChunk",
        "LLMMessage",
        "LLMProvider",
        "LLMReply",
        "LLMRequest",
        "LLMUsage",
    ),
    "core.memory.layers": ("LayerStatus", "MemoryLayerSpec"),
    "core.prompts": ("Prompt",),
    "core.retry": ("Retry",),
    "core.runtime": ("MissionRuntime", "create_mission_runtime"),
    "core.settings": ("Settings",),
    "core.storage.database": ("Persistence", "Transaction"),
    "core.tools.catalog": ("ToolCatalog",),
    "core.tools.decorator": ("tool",),
    "core.tools.spec": ("ToolExecutor", "ToolRegistry", "ToolResult", "ToolSpec"),
    "core.tower.control_tower": ("ControlTower",),
    "core.tower.interrupts": ("Declined", "InterruptExpired"),
    "core.tower.mission": ("Mission",),
    "core.tower.process": ("Envelope", "ProcessControlBlock", "Quota", "SchedulingPriority"),
    "core.version": ("__version__",),
    "plugins.hookspecs": ("PluginContext", "hookimpl"),
    "web.app": ("create_app",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Busy",
    "Caller",
    "ChildFailed",
    "ComponentHealth",
    "ComponentStatus",
    "ConfigRegistry",
    "Conflict",
    "ControlTower",
    "Declined",
    "Envelope",
    "Event",
    "Forbidden",
    "IndicatorSpec",
    "InterruptExpired",
    "InvalidInput",
    "LLMChunk",
    "LLMError",
    "LLMMessage",
    "LLMProvider",
    "LLMReply",
    "LLMRequest",
    "LLMUsage",
    "LayerStatus",
    "Measurement",
    "MemoryLayerSpec",
    "Mission",
    "MissionError",
    "MissionRuntime",
    "NotFound",
    "OrchestratorSpec",
    "Persistence",
    "PluginContext",
    "ProcessControlBlock",
    "Prompt",
    "Quota",
    "QuotaExceeded",
    "Reply",
    "Retry",
    "SchedulingPriority",
    "Settings",
    "ToolCatalog",
    "ToolExecutor",
    "ToolFailed",
    "ToolRegistry",
    "ToolResult",
    "ToolSpec",
    "Transaction",
    "Unavailable",
    "__version__",
    "create_app",
    "create_mission_runtime",
    "hookimpl",
    "tool",
]


def __getattr__(name: str) -> Any:
    try:
        module = _MODULE_OF[name]
    except KeyError:
        raise AttributeError(f"module 'mission_system' has no attribute '{name}'") from None
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""The server's Python surface, by topic: `api.chat`, `api.health`, `api.server`."""

from __future__ import annotations

from ..core.runtime import MissionRuntime, create_mission_runtime

__all__ = ["MissionRuntime", "create_mission_runtime"]

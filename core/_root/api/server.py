"""The ASGI application, for servers that want an import path.

`uvicorn mission_system.api.server:app` serves with the settings of the environment. `app` is made
on first access: importing this module reads no settings and loads no plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..web.lifespan import lifespan
from ..web.state import AppState

if TYPE_CHECKING:
    from starlette.applications import Starlette

    app: Starlette

__all__ = ["AppState", "app", "lifespan"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from ..web.app import create_app

    value = create_app()
    globals()["app"] = value
    return value

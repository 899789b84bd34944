"""Every operation of the API, by group."""

from __future__ import annotations

from typing import Any

from . import messages, requests, sessions
from .endpoint import Endpoint, routes_of

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    *sessions.endpoints,
    *messages.endpoints,
    *requests.endpoints,
)

routes = routes_of(ENDPOINTS)

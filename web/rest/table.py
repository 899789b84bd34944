"""Every operation of the API, by group."""

from __future__ import annotations

from typing import Any

from . import governance, messages, requests, sessions
from .endpoint import Endpoint, routes_of
from .reference import reference

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    *sessions.endpoints,
    *messages.endpoints,
    *requests.endpoints,
    *governance.endpoints,
)

routes = [*routes_of(ENDPOINTS), *reference(ENDPOINTS)]

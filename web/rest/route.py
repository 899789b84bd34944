"""Routes whose parameters may hold a slash."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.routing import Match, Route
from starlette.types import Scope

ENCODED_SLASH = re.compile(b"%2f", re.IGNORECASE)
STAND_IN = "\udc2f"  # half of a surrogate pair: no path can be decoded to it


class SlashRoute(Route):
    """A route that takes `%2F` for a part of a name: ids are any text, and so may hold a slash.

    The server decodes a path before it is matched, so that such a name would look like two.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw: bytes = scope.get("raw_path") or b""
        if not ENCODED_SLASH.search(raw):
            return super().matches(scope)
        path = STAND_IN.join(unquote(part.decode("latin-1")) for part in ENCODED_SLASH.split(raw))
        match, found = super().matches({**scope, "path": path})
        if match is not Match.NONE:
            params = found["path_params"]
            for name in self.param_convertors:
                params[name] = params[name].replace(STAND_IN, "/")
        return match, found

"""Settings for a command, and what to say when they are wrong."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...core.chat.text import checked
from ...core.errors import InvalidInput, MissionError
from ..auth import MAX_USER

if TYPE_CHECKING:
    from ...core.settings import Settings


JSON_FORMS = {
    "MISSION_QUOTA": "a JSON object; write one such as '{\"max_llm_calls\": 5}', or set each part"
    " by itself, such as MISSION_QUOTA__MAX_LLM_CALLS=5",
    "MISSION_LLM_ROLES": "a JSON object; write one such as"
    ' \'{"writer": {"provider": "openai", "model": "gpt-6-luna"}}\'',
    "MISSION_LLM_PRICES": "a JSON object; write one such as"
    ' \'{"openai/*": {"input": 0.2, "output": 0.75}}\'',
    "MISSION_LLM_CONCURRENCY_OF": "a JSON object; write one such as '{\"openai\": 4}'",
    "MISSION_PROMPTS": "a JSON object; write one such as '{\"writer\": 2}'",
    "MISSION_TOOL_POLICY": "a JSON list; write one such as"
    ' \'[{"tool": "send_mail", "decision": "deny"}]\'',
}


class BadSettings(MissionError):
    """One line for each setting that does not validate."""

    code = "BAD_SETTINGS"


def settings_from(**options: Any) -> Settings:
    """The settings of the environment, `.env`, and the options that were given (not None).

    Raises:
        BadSettings: some do not validate; the text names each variable or option.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from ...core.settings import Settings

    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [
            f"{_source(e['loc'], given)}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise BadSettings("\n".join(lines)) from None
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        name = f"MISSION_{field[1].upper()}" if field else str(error)
        raise BadSettings(f"{name}: is not {JSON_FORMS.get(name, 'JSON')}") from None
    except UnicodeDecodeError:
        raise BadSettings("the file .env is not UTF-8 text; correct or remove it") from None


def checked_url(url: str) -> str:
    """The URL of a server, as given.

    Raises:
        BadSettings: it is none.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadSettings(f"--url: '{url}' is no address; write one like http://127.0.0.1:8000")
    return url


def checked_user(user: str) -> str:
    """The name of a user, as given, if a header can carry it.

    Raises:
        BadSettings: it cannot.
    """
    if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in user):
        raise BadSettings("--user: must not contain line breaks or other control characters")
    try:
        return checked("--user", user, longest=MAX_USER)
    except InvalidInput as error:
        raise BadSettings(error.message) from None


def _source(location: tuple[int | str, ...], given: dict[str, Any]) -> str:
    name, *rest = (str(part) for part in location)
    if name in given:
        return f"--{name.replace('_', '-')}"
    return "__".join([f"MISSION_{name}", *rest]).upper()

"""Exports, where a server in this process shows more than one over a socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from urllib.parse import quote

import pytest

from mission_system.web.rest import download

from .conftest import Api, B


async def test_3_whoever_asks_for_the_head_of_an_export_has_none_made(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    gathered = download._gathered

    async def counted(parts: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        nonlocal made
        async for part in gathered(parts):
            made += 1
            yield part

    monkeypatch.setattr(download, "_gathered", counted)
    path = f"{B}/sessions/{await api.session()}/export"
    head = await api.call("HEAD", path)
    assert (head.status_code, head.content, made) == (200, b"", 0)
    whole = await api.get(path)
    assert made > 0
    for name in ("content-type", "content-disposition"):
        assert head.headers[name] == whole.headers[name]


async def test_3_a_session_of_any_name_is_exported(api: Api) -> None:
    id = 'odd "name"\r\nX: y ü'
    await api.post("requests", user_message="hi", session_id=id)
    answer = await api.http.get(f"{B}/sessions/{quote(id, safe='')}/export?user_id=ann")
    assert answer.status_code == 200
    assert "x" not in answer.headers
    assert answer.headers["content-disposition"] == (
        'attachment; filename="session_odd _name___X: y _.json"; '
        "filename*=UTF-8''session_odd%20%22name%22%0D%0AX%3A%20y%20%C3%BC.json"
    )

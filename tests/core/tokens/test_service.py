from __future__ import annotations

from datetime import timedelta

import pytest

from mission_system.core.clock import to_datetime
from mission_system.core.errors import Conflict, InvalidInput, NotFound
from mission_system.core.tokens import service as module
from mission_system.core.tokens import token as token_module
from mission_system.core.tokens.service import DAY, TokenService
from mission_system.core.tokens.token import PREFIX


@pytest.fixture
async def tokens(start_node) -> TokenService:
    return (await start_node()).tokens


async def test_a_token_is_found_by_its_secret_alone(tokens: TokenService) -> None:
    token, secret = await tokens.create("ann", role="admin", label="laptop")
    assert secret.startswith(PREFIX)
    assert len(secret) >= 40
    assert await tokens.check(secret) == token
    assert await tokens.check(secret + "x") is None
    assert await tokens.check("\udfff") is None


async def test_the_secret_is_not_stored(start_node) -> None:
    node = await start_node()
    _, secret = await node.tokens.create("ann")
    [row] = await node.database.fetch_all("SELECT * FROM token")
    assert secret not in [str(row[name]) for name in row.keys()]  # noqa: SIM118 (a row's own keys)


async def test_a_token_expires(tokens: TokenService, monkeypatch: pytest.MonkeyPatch) -> None:
    token, secret = await tokens.create("ann", days=2)
    assert token.expires_at is not None
    assert token.expires_at - token.created_at == timedelta(seconds=2 * DAY)
    assert await tokens.check(secret) is not None
    late = token.expires_at + timedelta(seconds=1)
    monkeypatch.setattr(token_module, "now", lambda: int(late.timestamp() * 1e6))
    assert to_datetime(token_module.now()) > token.expires_at
    assert await tokens.check(secret) is None


async def test_a_revoked_token_opens_nothing(tokens: TokenService) -> None:
    token, secret = await tokens.create("ann")
    assert await tokens.check(secret) is not None
    await tokens.revoke(token.id)
    assert await tokens.check(secret) is None
    [listed] = await tokens.list_tokens()
    assert listed.revoked_at is not None
    with pytest.raises(Conflict):
        await tokens.revoke(token.id)
    with pytest.raises(NotFound):
        await tokens.revoke("nothing")


async def test_a_revocation_elsewhere_is_heard_of(
    start_node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await start_node()
    here, elsewhere = node.tokens, TokenService(node.database)
    token, secret = await here.create("ann")
    assert await here.check(secret) is not None
    await elsewhere.revoke(token.id)
    monkeypatch.setattr(module, "REMEMBER_SECONDS", -1)
    assert await here.check(secret) is None


async def test_checks_are_remembered_in_bounded_number(
    tokens: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 10)
    for number in range(30):
        await tokens.check(str(number))
    assert len(tokens._remembered) == 10


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("user", {"user_id": ""}),
        ("user", {"user_id": "a\0"}),
        ("label", {"user_id": "a", "label": "x" * 256}),
        ("days", {"user_id": "a", "days": 0}),
        ("days", {"user_id": "a", "days": float("nan")}),
        ("days", {"user_id": "a", "days": 1e9}),
    ],
)
async def test_bad_input_is_named(tokens: TokenService, field: str, given) -> None:
    with pytest.raises(InvalidInput) as error:
        await tokens.create(**given)
    assert error.value.field == field
    assert await tokens.list_tokens() == []

"""Section 1 of the contract: with tokens, who is named must be who is meant."""

from __future__ import annotations

import pytest

from mission_system.core.node import Node

from .conftest import Api, B, Json

TOKENS = {"auth": "tokens"}


async def token(node: Node, user: str) -> dict[str, str]:
    _, secret = await node.tokens.create(user)
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("changed", [TOKENS])
async def test_1_a_missing_or_wrong_token_is_401(api: Api, changed: Json) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        for path in (f"{B}/sessions?user_id=ann", "/api/v1/metrics", "/api/v1/requests/x/status"):
            answer = await api.http.get(path, headers=headers)
            assert answer.status_code == 401, path
            assert isinstance(answer.json()["detail"], str)
    for path in ("/", "/health", "/ready"):
        assert (await api.http.get(path)).status_code == 200


@pytest.mark.parametrize("changed", [TOKENS])
async def test_1_a_token_is_bound_to_its_user(api: Api, changed: Json) -> None:
    ann, bob = await token(api.node, "ann"), await token(api.node, "bob")
    made = await api.http.post(f"{B}/sessions", json={"user_id": "ann"}, headers=ann)
    assert made.status_code == 201
    for answer in (
        await api.http.get(f"{B}/sessions?user_id=ann", headers=bob),
        await api.http.post(f"{B}/sessions", json={"user_id": "ann"}, headers=bob),
    ):
        assert answer.status_code == 403
        assert isinstance(answer.json()["detail"], str)
    assert len((await api.http.get(f"{B}/sessions?user_id=ann", headers=ann)).json()) == 1


@pytest.mark.parametrize("changed", [TOKENS])
async def test_5_with_a_token_the_dashboard_needs_no_user(api: Api, changed: Json) -> None:
    path, ann = "/api/v1/governance/dashboard", await token(api.node, "ann")
    for query, status in (("", 200), ("?user_id=ann", 200), ("?user_id=bob", 403)):
        assert (await api.http.get(path + query, headers=ann)).status_code == status


@pytest.mark.parametrize("changed", [TOKENS])
async def test_4_with_tokens_a_status_is_its_owners(api: Api, changed: Json) -> None:
    ann, bob = await token(api.node, "ann"), await token(api.node, "bob")
    sent = await api.http.post(f"{B}/messages?user_id=ann", json={"message": "hi"}, headers=ann)
    path = f"/api/v1/requests/{sent.json()['request_id']}/status"
    assert (await api.http.get(path, headers=ann)).status_code == 200
    assert (await api.http.get(path, headers=bob)).status_code == 404

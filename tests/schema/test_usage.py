"""Quotas and usage, through GraphQL."""

from __future__ import annotations

import pytest

from mission_system.core.clock import now
from mission_system.core.identity import Caller
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tower.model_usage import add_model_usage

from .conftest import Client, Gate, Json

ADJUST = """
mutation Adjust($input: AdjustQuotaInput!) {
  adjustQuota(input: $input) {
    __typename
    ... on AdjustQuotaPayload {
      pid quota { maxToolCalls } process { quota { maxToolCalls maxLlmCalls timeoutSeconds } }
    }
    ... on Error { code message }
    ... on InvalidInput { field }
  }
}
"""
USED = "processes llmCalls toolCalls tokensIn tokensOut elapsedSeconds"


async def adjust(client: Client, pid: str, **limits: object) -> Json:
    data = await client.data(ADJUST, input={"processId": pid, **limits})
    payload: Json = data["adjustQuota"]
    return payload


async def test_quota_of_a_running_process_changes(client: Client, gate: Gate) -> None:
    sent = await client.send("hello", capability="gate", wait=False)
    pid = sent["process"]["id"]
    changed = await adjust(client, pid, maxToolCalls=60, timeoutSeconds=20.5)
    quota = {"maxToolCalls": 60, "maxLlmCalls": 10, "timeoutSeconds": 20.5}
    assert changed["process"]["quota"] == quota
    assert (await adjust(client.called("eve"), pid, maxToolCalls=1))["code"] == "NOT_FOUND"
    gate.opened.set()


@pytest.mark.parametrize(
    ("limits", "field"),
    [({"maxLlmCalls": -1}, "maxLlmCalls"), ({"softTimeoutSeconds": 0}, "softTimeoutSeconds")],
)
async def test_limit_that_cannot_be_is_refused_as_the_client_named_it(
    client: Client, gate: Gate, limits: Json, field: str
) -> None:
    sent = await client.send("hello", capability="gate", wait=False)
    refused = await adjust(client, sent["process"]["pid"], **limits)
    assert (refused["__typename"], refused["field"]) == ("InvalidInput", field)
    assert refused["message"].startswith(f"{field}: ")
    gate.opened.set()


async def test_user_may_lower_a_quota_and_not_raise_it(client: Client, gate: Gate) -> None:
    ann = client.called("ann")
    pid = (await ann.send("hello", capability="gate", wait=False))["process"]["pid"]
    assert (await adjust(ann, pid, maxToolCalls=51))["__typename"] == "Forbidden"
    assert (await adjust(ann, pid, maxToolCalls=5))["process"]["quota"]["maxToolCalls"] == 5
    gate.opened.set()


async def test_administrator_governs_the_work_of_others_without_seeing_it(
    client: Client, gate: Gate
) -> None:
    pids = {}
    for name in ("ann", "eve"):
        sent = await client.called(name).send(
            "hello", capability="gate", requestId="same", wait=False
        )
        pids[name] = sent["process"]["pid"]
    assert await adjust(client, pids["ann"], maxToolCalls=51) == {
        "__typename": "AdjustQuotaPayload",
        "pid": pids["ann"],
        "quota": {"maxToolCalls": 51},
        "process": None,
    }
    assert (await adjust(client, "same", maxToolCalls=52))["code"] == "NOT_FOUND"
    eves = await adjust(client.called("eve"), "same", maxToolCalls=49)
    assert (eves["pid"], eves["process"]["quota"]["maxToolCalls"]) == (pids["eve"], 49)
    gate.opened.set()


async def test_usage_is_shown_to_whom_it_belongs(client: Client) -> None:
    session = (await client.send("one"))["process"]["sessionId"]
    await client.send("two", sessionId=session)
    await client.send("three")
    ann = client.called("ann")
    await ann.send("four")
    used = f"usage {{ {USED} }}"
    document = f"query Q($id: ID!) {{ viewer {{ {used} }} session(id: $id) {{ {used} }} }}"
    data = await client.data(document, id=session)
    assert data["session"]["usage"]["processes"] == 2
    assert data["viewer"]["usage"]["processes"] == 3
    whole = (await client.data(f"{{ systemUsage {{ {USED} }} }}"))["systemUsage"]
    assert whole["processes"] == 4
    assert whole["elapsedSeconds"] > data["viewer"]["usage"]["elapsedSeconds"] > 0
    refused = await ann.error("{ systemUsage { processes } }")
    assert (refused["extensions"]["code"], "costs" in refused["message"]) == ("FORBIDDEN", True)
    shared = (await ann.data("{ metrics { totalProcesses } }"))["metrics"]
    assert shared == {"totalProcesses": whole["processes"]}  # without the costs
    root = Client(client.schema, client.node, client.plugins, Caller("root", "admin"))
    assert (await root.data("{ viewer { usage { processes } } }"))["viewer"]["usage"] == {
        "processes": 0
    }


async def test_usage_by_model_is_shown_to_whom_it_belongs(client: Client) -> None:
    session = (await client.send("one"))["process"]["sessionId"]
    row = await client.node.database.fetch_one(
        "SELECT id, user_id FROM session WHERE public_id = ?", (session,)
    )
    assert row is not None

    async def spend(tx: Transaction) -> None:
        for model, cost in (("acme/small", 5), ("acme/big", 2_500_000_000)):
            await add_model_usage(tx, row["user_id"], row["id"], model, (7, 3), cost, now())

    await client.node.database.write(spend)
    fields = "{ model calls tokensIn tokensOut cost }"
    document = f"{{ viewer {{ usage {{ cost }} modelUsage {fields} }} }}"
    found = (await client.data(document))["viewer"]["modelUsage"]
    big = {"model": "acme/big", "calls": 1, "tokensIn": 7, "tokensOut": 3, "cost": 2.5}
    assert found[0] == big
    assert [each["model"] for each in found] == ["acme/big", "acme/small"]
    ann = client.called("ann")
    assert (await ann.data(document))["viewer"] == {"usage": {"cost": 0}, "modelUsage": []}
    everybody = f"{{ systemModelUsage {fields} }}"
    assert (await client.data(everybody))["systemModelUsage"][0] == big
    assert (await ann.error(everybody))["extensions"]["code"] == "FORBIDDEN"

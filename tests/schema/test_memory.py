"""Working memory: visible to whom the session belongs."""

from __future__ import annotations

from mission_system.core.memory.working import store_values
from mission_system.core.storage.persistence import Transaction

from .conftest import Client

STATE = """
query State($id: ID!) {
  session(id: $id) { workingState { capability key value updatedAt } }
}
"""


async def test_working_state_is_shown_with_its_capability_and_time(client: Client) -> None:
    sent = await client.send("hi")
    session = sent["session"]["sessionId"]

    async def fill(tx: Transaction) -> None:
        row = await tx.fetch_one("SELECT id FROM session WHERE public_id = ?", (session,))
        assert row is not None
        await store_values(tx, row["id"], "b", {"k": '{"x": [1, null]}'}, 1_500_000)
        await store_values(tx, row["id"], "a", {"y": "1", "x": '"text"'}, 0)

    await client.node.database.write(fill)
    entries = (await client.data(STATE, id=session))["session"]["workingState"]
    assert [(entry["capability"], entry["key"], entry["value"]) for entry in entries] == [
        ("a", "x", "text"),
        ("a", "y", 1),
        ("b", "k", {"x": [1, None]}),
    ]
    assert entries[2]["updatedAt"] == "1970-01-01T00:00:01.500000+00:00"


async def test_working_state_of_another_user_is_not_found(client: Client) -> None:
    session = (await client.send("hi"))["session"]["sessionId"]
    error = await client.called("bob").error(STATE, id=session)
    assert error["extensions"]["code"] == "NOT_FOUND"

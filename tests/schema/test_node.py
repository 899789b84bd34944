"""Global ids: opaque, unique over all types, and harmless whatever a client sends."""

from __future__ import annotations

import base64

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType
from hypothesis import given
from hypothesis import strategies as st

from mission_system import tool
from mission_system.core.errors import NotFound
from mission_system.core.node import Node
from mission_system.core.prompts import Prompt
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.schema.build import MissionSchema
from mission_system.schema.node import global_id, key_of, number_of, split_id

from .conftest import Client

NODE = "query Node($id: ID!) { node(id: $id) { __typename id } }"
NODES = "query Nodes($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(KEYS.filter(lambda key: len(key) <= 255))
def test_a_global_id_gives_back_its_key(key: str) -> None:
    assert key_of(global_id("Session", key), "Session") == key


@given(st.text())
def test_any_text_is_either_a_key_or_not_found(text: str) -> None:
    try:
        assert key_of(text, "Session")
    except NotFound as error:
        error.message.encode()  # can be sent


@given(st.text())
def test_any_text_is_a_number_or_not_found(text: str) -> None:
    try:
        assert 0 <= number_of("Message", text) < 2**63
    except NotFound:
        assert not (text.isascii() and text.isdecimal() and int(text) < 2**63)


def test_an_id_of_another_type_is_not_found() -> None:
    with pytest.raises(NotFound):
        key_of(global_id("Message", "1"), "Session")


def test_what_decodes_only_by_leniency_is_a_key_of_its_own() -> None:
    padded = base64.urlsafe_b64encode(b"Session:a").decode() + "\n"
    assert split_id(padded) is None


@tool
def look(at: str) -> str:
    """Look at something."""
    return at


@pytest.fixture
def furnished(node: Node) -> None:
    """There is one of each thing that a plugin brings."""
    runtime = node.runtime
    assert isinstance(runtime.tool_registry, ToolCatalog)
    runtime.tool_registry.register(look)
    runtime.config_registry.register("acme", {"size": 1})
    runtime.prompts.register(Prompt("poet: of old", "Sing."))


@pytest.mark.usefixtures("furnished")
async def test_everything_with_a_global_id_can_be_fetched_again(client: Client) -> None:
    process = (await client.send("/clarify"))["process"]
    data = await client.data(
        "query All($s: ID!) { session(id: $s) { id messages { nodes { id } } }"
        " capabilities { id plugin { id } } tools { id } configs { id } prompts { id } }",
        s=process["sessionId"],
    )
    ids = {
        "Session": data["session"]["id"],
        "Message": data["session"]["messages"]["nodes"][0]["id"],
        "Process": process["id"],
        "Interrupt": process["interrupts"][0]["id"],
        "Capability": data["capabilities"][0]["id"],
        "Plugin": data["capabilities"][0]["plugin"]["id"],
        "Tool": data["tools"][0]["id"],
        "Config": data["configs"][0]["id"],
        "Prompt": data["prompts"][0]["id"],
    }
    assert set(ids) == {kind.name for kind in implementations(client.schema)}
    for typename, id in ids.items():
        assert (await client.data(NODE, id=id))["node"] == {"__typename": typename, "id": id}
    found = (await client.data(NODES, ids=[*ids.values(), *list(ids.values())[::-1]]))["nodes"]
    typenames = [*ids, *list(ids)[::-1]]
    assert found == [{"__typename": each, "id": ids[each]} for each in typenames]


def implementations(schema: MissionSchema) -> list[GraphQLObjectType]:
    interface = schema._schema.type_map["Node"]
    assert isinstance(interface, GraphQLInterfaceType)
    return list(schema._schema.get_implementations(interface).objects)


async def test_many_nodes_are_null_where_there_is_none_and_bounded(client: Client) -> None:
    id = (await client.send("hi"))["process"]["id"]
    bad = [each for each in BAD if each != "\ud800"]
    data = await client.data(NODES, ids=[id, *bad, id])
    assert [each and each["id"] for each in data["nodes"]] == [id, *[None] * len(bad), id]
    error = await client.error(NODES, ids=[id] * 101)
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": "ids"}
    error = await client.error(
        "query N($ids: [ID!]!) { nodes(ids: $ids) { ... on Session {"
        " messages(first: 200) { nodes { id content role } } } } }",
        ids=[id] * 100,
    )
    assert error["extensions"] == {"code": "TOO_LARGE"}


@pytest.mark.usefixtures("furnished")
async def test_a_prompt_is_a_node_for_administrators_alone(client: Client) -> None:
    id = (await client.data("{ prompts { id } }"))["prompts"][0]["id"]
    error = await client.called("ann").error(NODE, id=id)
    assert error["extensions"] == {"code": "NOT_FOUND"}


BAD = (
    "",
    "nonsense",
    "\0",
    "\ud800",
    "=" * 10_000,
    global_id("Session", "none"),
    global_id("Message", "none"),
    global_id("Message", "-1"),
    global_id("Message", "9" * 30),
    global_id("Message", str(2**63 - 1)),
    global_id("Process", "none"),
    global_id("Process", "nul\0"),
    global_id("Interrupt", "none"),
    global_id("Capability", "none"),
    global_id("Query", "none"),
    global_id("Session", "x" * 5000),
)


async def test_a_bad_id_is_not_found(client: Client) -> None:
    for id in BAD:
        error = await client.error(NODE, id=id)
        assert error["extensions"] == {"code": "NOT_FOUND"}, id
        assert error["path"] == ["node"], id


async def test_what_belongs_to_another_user_does_not_exist(client: Client) -> None:
    process = (await client.send("/clarify"))["process"]
    stranger = client.called("mallory")
    for id in (
        process["id"],
        global_id("Session", process["sessionId"]),
        process["interrupts"][0]["id"],
        global_id("Message", "1"),
    ):
        assert (await stranger.error(NODE, id=id))["extensions"]["code"] == "NOT_FOUND"

"""`register_graphql`: what plugins add to the schema is served like the server's own, or fails
alone."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Mapping
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any, NewType

import pytest
import strawberry

from mission_system.api.graphql import Context, Count, Errors, Info, Process, Session, page_size
from mission_system.core.errors import Busy, NotFound
from mission_system.core.settings import Settings
from mission_system.plugins.hookspecs import PluginContext, hookimpl
from mission_system.plugins.host import PluginHost
from mission_system.plugins.loader import load_plugins
from mission_system.plugins.report import PluginReport, PluginStatus
from mission_system.schema.build import MissionSchema, build_schema
from mission_system.schema.extension import extend
from mission_system.schema.limits import Limits

from .conftest import Client
from .test_build import undescribed
from .test_limits import size_of

READS: list[list[str]] = []


@strawberry.enum
class Kind(Enum):
    PAGE = "page"
    BOOK = "book"


@strawberry.type
class Citation:
    text: str
    kind: Kind

    @strawberry.field
    def cut(self, length: int = 5) -> str:
        return self.text[:length]


@strawberry.input
class CiteInput:
    session_id: strawberry.ID
    text: str


@strawberry.type
class CitePayload:
    citation: Citation


async def citations_of(context: Context, sessions: list[str]) -> Mapping[str, list[Citation]]:
    READS.append(sorted(sessions))
    return {
        id: [Citation(text=f"{context.caller.user_id} {id}", kind=Kind.BOOK)] for id in sessions
    }


@strawberry.type
class SessionFields:
    @strawberry.field(description="Passages that its replies cite.")
    async def citations(
        self, info: Info, parent: strawberry.Parent[Session], first: Count = 10
    ) -> list[Citation]:
        found = await info.context.batched(citations_of).load(parent.session_id)
        return (found or [])[: page_size(10 if first is None else first)]


@strawberry.type
class ProcessFields:
    @strawberry.field
    def shouted(self, parent: strawberry.Parent[Process]) -> str:
        return parent.text.upper()


@strawberry.type
class Queries:
    @strawberry.field
    def citation(self, text: str) -> Citation:
        return Citation(text=text, kind=Kind.PAGE)

    @strawberry.field
    def secret(self) -> str:
        raise RuntimeError("password=hunter2")

    @strawberry.field
    def missing(self) -> str | None:
        raise NotFound("citation", "7")


@strawberry.type
class Mutations:
    @strawberry.mutation
    async def cite(
        self, info: Info, input: CiteInput
    ) -> Annotated[CitePayload | Errors, strawberry.union("CiteResult")]:
        if input.text == "busy":
            raise Busy("no room for citations", retry_after=2.5)
        await info.context.node.chat.get_session(info.context.caller, input.session_id)
        return CitePayload(citation=Citation(text=input.text, kind=Kind.PAGE))


@strawberry.type
class Subscriptions:
    @strawberry.subscription
    async def cited(self, count: int = 2) -> AsyncGenerator[Citation, None]:
        for number in range(count):
            await asyncio.sleep(0)
            yield Citation(text=f"citation {number}", kind=Kind.PAGE)


ALL: Mapping[str, Any] = {
    "Query": Queries,
    "Mutation": Mutations,
    "Subscription": Subscriptions,
    "Session": SessionFields,
    "Process": ProcessFields,
}


def extending(types: Mapping[str, Any], name: str = "citations") -> SimpleNamespace:
    """A plugin that extends the schema so, and has a config beside that."""

    @hookimpl
    def register_graphql(context: PluginContext) -> Mapping[str, Any]:
        return types

    @hookimpl
    def register_configs() -> Mapping[str, object]:
        return {name: 1}

    return SimpleNamespace(
        __name__=name, register_graphql=register_graphql, register_configs=register_configs
    )


def loaded(*plugins: object) -> tuple[MissionSchema, PluginHost]:
    host = load_plugins(Settings(), plugins, entry_points=False)
    return build_schema(plugins=host), host


@pytest.fixture
def client(client: Client) -> Client:
    client.schema, _ = loaded(extending(ALL))
    READS.clear()
    return client


def report(host: PluginHost, name: str) -> PluginReport:
    [found] = [report for report in host.reports if report.name == name]
    return found


async def test_fields_of_every_kind_of_type_are_served(client: Client) -> None:
    process = await client.send("of tea")
    session = process["process"]["sessionId"]
    data = await client.data(
        """query ($session: ID!) {
          citation(text: "a long text") { cut kind }
          session(id: $session) {
            citations { text }
            processes { nodes { shouted } }
          }
        }""",
        session=session,
    )
    assert data["citation"] == {"cut": "a lon", "kind": "PAGE"}
    assert data["session"] == {
        "citations": [{"text": f"local {session}"}],
        "processes": {"nodes": [{"shouted": "OF TEA"}]},
    }
    cite = """mutation ($input: CiteInput!) {
      cite(input: $input) { ... on CitePayload { citation { text } } }
    }"""
    data = await client.data(cite, input={"sessionId": session, "text": "so"})
    assert data == {"cite": {"citation": {"text": "so"}}}
    told = [item async for item in client.follow("subscription { cited(count: 3) { text } }")]
    assert [item["text"] for item in told] == ["citation 0", "citation 1", "citation 2"]


async def test_fields_of_a_list_are_read_in_one_call(client: Client) -> None:
    for number in range(3):
        await client.send(f"message {number}")
    data = await client.data("{ sessions { nodes { sessionId citations { text } } } }")
    nodes = data["sessions"]["nodes"]
    assert [sorted(node["sessionId"] for node in nodes)] == READS
    assert [node["citations"][0]["text"] for node in nodes] == [
        f"local {node['sessionId']}" for node in nodes
    ]


async def test_errors_of_resolvers_are_masked_and_errors_for_clients_coded(client: Client) -> None:
    error = await client.error("{ secret }")
    assert (error["message"], error["extensions"]["code"]) == ("Internal error", "INTERNAL")
    assert "hunter2" not in str(error)
    error = await client.error("{ missing }")
    assert error["extensions"]["code"] == "NOT_FOUND"


async def test_errors_for_clients_become_members_of_a_result(client: Client) -> None:
    cite = """mutation ($input: CiteInput!) {
      cite(input: $input) { __typename ... on Busy { retryAfter } ... on Error { code } }
    }"""
    data = await client.data(cite, input={"sessionId": "nobody", "text": "so"})
    assert data["cite"] == {"__typename": "NotFound", "code": "NOT_FOUND"}
    data = await client.data(cite, input={"sessionId": "nobody", "text": "busy"})
    assert data["cite"] == {"__typename": "Busy", "retryAfter": 2.5, "code": "BUSY"}


async def test_fields_of_plugins_count_in_the_limits(client: Client) -> None:
    host = load_plugins(Settings(), [extending(ALL)], entry_points=False)
    client.schema = build_schema(limits=Limits(cost=1_000), plugins=host)
    error = await client.error(
        "{ sessions(first: 100) { nodes { citations(first: 100) { text cut kind } } } }"
    )
    assert error["extensions"]["code"] == "TOO_LARGE"


@strawberry.type
class TallyConnection:
    """Called like the pages of the server, and no page of anything."""

    numbers: list[int]

    @strawberry.field
    def tallies(self) -> list[TallyConnection]:
        return [self, self]


def tally() -> TallyConnection:
    return TallyConnection(numbers=[1, 2])


async def test_a_list_counts_as_such_whatever_its_type_is_called(client: Client) -> None:
    client.schema, _ = loaded(
        extending({"Query": clashing("tally", TallyConnection, tally)}, "tally")
    )
    assert await client.data("{ tally { numbers } }") == {"tally": {"numbers": [1, 2]}}
    size = size_of(client.schema, "{ tally { tallies { tallies { numbers } } } }")
    assert size.cost == 1 + 1 + 10 * (1 + 10)


async def test_pages_and_their_edges_are_extended_by_their_names(client: Client) -> None:
    await client.send("hello")
    added = {kind: clashing("extra", int, number) for kind in ("SessionConnection", "SessionEdge")}
    client.schema, host = loaded(extending(added, "extra"))
    assert report(host, "extra").status is PluginStatus.LOADED
    assert await client.data("{ sessions(first: 1) { extra edges { extra } } }") == {
        "sessions": {"extra": 1, "edges": [{"extra": 1}]}
    }


async def test_clients_see_them_with_descriptions(client: Client) -> None:
    data = await client.data(
        """{
          session: __type(name: "Session") { fields { name description } }
          citation: __type(name: "Citation") { description }
        }"""
    )
    fields = {field["name"]: field["description"] for field in data["session"]["fields"]}
    assert fields["citations"] == "Passages that its replies cite."
    assert data["citation"]["description"] == "Of the plugin 'citations'."
    assert list(undescribed(client.schema)) == []


def test_the_schema_of_another_server_is_left_alone() -> None:
    before = build_schema().as_str()
    extended, _ = loaded(extending(ALL))
    assert "citations" in extended.as_str()
    assert build_schema().as_str() == before
    unextended, host = loaded(extending({}))
    assert unextended.as_str() == before
    assert report(host, "citations").status is PluginStatus.LOADED


def clashing(name: str, annotation: type, resolve: Any) -> type:
    class Fields:
        pass

    Fields.__annotations__ = {name: annotation}
    setattr(Fields, name, strawberry.field(resolver=resolve))
    return strawberry.type(Fields)


@strawberry.type(name="Citation")
class OtherCitation:
    page: int


@strawberry.type(name="Session")
class OtherSession:
    page: int


def other_citation() -> OtherCitation:
    return OtherCitation(page=1)


def other_session() -> OtherSession:
    return OtherSession(page=1)


def number() -> int:
    return 1


def untyped():  # type: ignore[no-untyped-def]
    return 1


def strange() -> object:
    return object()


def scalar(name: str) -> Any:
    with warnings.catch_warnings():  # of the way that is left to a plugin
        warnings.simplefilter("ignore", DeprecationWarning)
        return strawberry.scalar(
            NewType(name, str),  # type: ignore[valid-newtype]
            name=name,
            serialize=str,
            parse_value=str,
        )


def returning(name: str, annotation: Any) -> type:
    """A field of a type that is of no interest otherwise."""

    def resolve() -> Any:
        return None

    resolve.__annotations__["return"] = annotation
    return clashing(name, annotation, resolve)


@strawberry.type(name="DateTime")
class Date:
    day: int


@strawberry.type
class Page:
    number: int


@strawberry.type
class Unresolved:
    citations: list[str]


@strawberry.type
class NoStream:
    @strawberry.field
    def numbers(self) -> int:
        return 1


BROKEN: list[tuple[str, Any, str]] = [
    ("Session", clashing("title", int, number), "field 'Session.title' of"),
    ("Session", clashing("citations", int, number), "field 'Session.citations' of"),
    ("Query", clashing("other", OtherCitation, other_citation), "type 'Citation' of"),
    ("Query", clashing("other", OtherSession, other_session), "type 'Session' of"),
    ("Sesion", SessionFields, "extends 'Sesion', which is no object type of this server"),
    ("Node", clashing("other", int, number), "extends 'Node', which is no object type"),
    ("Session", Unresolved, "offers 'Session.citations' without a resolver"),
    ("Subscription", NoStream, "offers 'Subscription.numbers', which is no subscription"),
    ("Query", Subscriptions, "offers 'Query.cited', which is a subscription"),
    ("Query", returning("price", scalar("Long")), "type 'Long' of"),
    ("Query", returning("price", scalar("Citation")), "type 'Citation' of"),
    ("Query", returning("date", Date), "type 'DateTime' of"),
    (
        "Query",
        returning("either", Annotated[Page | OtherCitation, strawberry.union("Kind")]),
        "type 'Citation' of",
    ),
    (
        "Query",
        returning("either", Annotated[Page | Date, strawberry.union("Citation")]),
        "type 'Citation' of",
    ),
    ("Query", clashing("strange", object, strange), "does not fit the schema: "),
]


@pytest.mark.parametrize(("kind", "fields", "reason"), BROKEN)
def test_a_contribution_that_does_not_fit_fails_alone(kind: str, fields: Any, reason: str) -> None:
    expected, _ = loaded(extending(ALL))
    schema, host = loaded(
        extending(ALL), extending({kind: fields}, "other"), extending({}, "third")
    )
    assert schema.as_str() == expected.as_str()
    told = report(host, "other")
    assert told.status is PluginStatus.FAILED
    assert told.reason is not None
    assert reason in told.reason
    assert told.fix is not None
    assert told.fix.endswith("What else the plugin registered stays served.")
    assert host.configs.get("other") == 1
    assert report(host, "citations").status is PluginStatus.LOADED
    assert report(host, "third").status is PluginStatus.LOADED


def test_a_clash_names_both_plugins() -> None:
    _, host = loaded(extending(ALL), extending({"Session": SessionFields}, "other"))
    assert report(host, "other").reason == (
        "GraphQL field 'Session.citations' of plugin 'other' (given by the program) is already"
        " defined by plugin 'citations' (given by the program), which loaded first."
    )


def test_a_clash_of_scalars_names_both_plugins() -> None:
    bank, shop = [
        extending({"Query": returning(field, scalar("Money"))}, field) for field in ("bank", "shop")
    ]
    _, host = loaded(bank, shop)
    assert report(host, "bank").status is PluginStatus.LOADED
    assert report(host, "shop").reason == (
        "GraphQL type 'Money' of plugin 'shop' (given by the program) is already defined by plugin"
        " 'bank' (given by the program), which loaded first."
    )


def test_a_contribution_that_the_schema_has_not_taken_fails() -> None:
    host = load_plugins(Settings(), [extending(ALL)], entry_points=False)
    schema = build_schema()
    assert extend(lambda _: schema, host) is schema
    assert "'Query', which takes no field 'citation'" in (report(host, "citations").reason or "")


def test_a_broken_contribution_leaves_room_for_the_next() -> None:
    both = {"Session": SessionFields, "Query": clashing("strange", object, strange)}
    schema, host = loaded(extending(both, "broken"), extending(ALL))
    assert "citations(" in schema.as_str()
    assert report(host, "broken").status is PluginStatus.FAILED
    assert report(host, "citations").status is PluginStatus.LOADED


def test_a_field_without_a_type_is_refused_where_it_is_written() -> None:
    @hookimpl
    def register_graphql() -> Mapping[str, Any]:
        @strawberry.type
        class Fields:
            page = strawberry.field(resolver=untyped)  # pyright: ignore[reportGeneralTypeIssues]

        return {"Query": Fields}

    plugin = SimpleNamespace(__name__="other", register_graphql=register_graphql)
    schema, host = loaded(plugin, extending(ALL))
    assert report(host, "other").status is PluginStatus.FAILED
    assert "page" in (report(host, "other").reason or "")
    assert "citations(" in schema.as_str()

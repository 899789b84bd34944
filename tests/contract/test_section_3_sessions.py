"""Section 3: sessions."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from .conftest import Api, B, Json, at_once, problem, problems, refused
from .served import Served

SESSION = {
    *("session_id", "user_id", "title", "message_count", "created_at", "last_activity"),
    *("deleted_at", "archived_at"),
}


def shown(session: Json) -> Json:
    """The session itself, once its shape has been checked."""
    assert set(session) == SESSION
    for name in ("session_id", "user_id", "created_at", "last_activity"):
        assert isinstance(session[name], str)
    assert isinstance(session["title"], str | None)
    assert type(session["message_count"]) is int
    assert session["last_activity"] >= session["created_at"]
    return session


def at(server: Served, session: str, **moments: datetime) -> None:
    """Put a session into the past."""
    for name, moment in moments.items():
        micros = int(moment.timestamp() * 1_000_000)
        server.execute(f"UPDATE session SET {name} = ? WHERE public_id = ?", micros, session)


# Creating


def test_3_post_gives_201_and_the_session(api: Api) -> None:
    answer = api.post("chat/sessions", title="My chat")
    assert answer.status_code == 201
    made = shown(answer.json())
    assert (made["user_id"], made["title"], made["message_count"]) == (api.user, "My chat", 0)
    assert made["deleted_at"] is None
    assert made["archived_at"] is None
    assert made["created_at"] == made["last_activity"]
    assert api.one(made["session_id"]) == made


@pytest.mark.parametrize(
    "title", [None, "", " ", "x" * 500, "🙂" * 500, "a\nb", "<script>", "null"]
)
def test_3_a_title_is_stored_as_given(api: Api, title: str | None) -> None:
    made = api.post("chat/sessions", title=title).json()
    assert made["title"] == title
    assert api.one(made["session_id"])["title"] in (title, "Untitled Chat")


def test_3_a_title_is_optional_and_bounded(api: Api) -> None:
    assert api.post("chat/sessions").json()["title"] is None
    assert problem(api.post("chat/sessions", title="x" * 501)) == (
        "string_too_long",
        ["body", "title"],
    )
    for value in (5, True, [], {}):
        assert problem(api.post("chat/sessions", title=value)) == ("string_type", ["body", "title"])
    assert len(api.sessions()) == 1


# Listing


def test_3_the_list_is_a_bare_array_the_last_active_first(api: Api) -> None:
    assert api.sessions() == []
    one, two, three = (api.session(name) for name in "123")
    assert [each["session_id"] for each in api.sessions()] == [three, two, one]
    api.send("hi", one)
    assert [shown(each)["session_id"] for each in api.sessions()] == [one, three, two]


def test_3_what_was_active_at_one_time_is_listed_by_creation(api: Api, server: Served) -> None:
    moment = datetime.now(UTC)
    made = [api.session() for _ in range(4)]
    for session in made:
        at(server, session, last_activity=moment)
    assert [each["session_id"] for each in api.sessions()] == made[::-1]


def test_3_limit_and_offset_cut_the_list(api: Api) -> None:
    made = [api.session() for _ in range(5)][::-1]

    def listed(**query: Any) -> list[str]:
        return [each["session_id"] for each in api.sessions(**query)]

    assert listed(limit=2) == made[:2]
    assert listed(limit=2, offset=2) == made[2:4]
    assert listed(offset=4) == made[4:]
    assert listed(offset=5) == listed(offset=2**63) == listed(offset=10**30) == []
    assert listed(limit=200) == made


def test_3_without_a_limit_50_are_listed(api: Api) -> None:
    answers = at_once(8, lambda _: api.post("chat/sessions"))
    assert {each.status_code for each in answers} == {201}
    while len(api.sessions(limit=200)) < 51:
        api.session()
    assert len(api.sessions()) == 50


@pytest.mark.parametrize(
    ("query", "type"),
    [
        ({"limit": 0}, "greater_than_equal"),
        ({"limit": -1}, "greater_than_equal"),
        ({"limit": 201}, "less_than_equal"),
        ({"limit": 10**30}, "less_than_equal"),
        ({"limit": "x"}, "int_parsing"),
        ({"limit": ""}, "int_parsing"),
        ({"offset": -1}, "greater_than_equal"),
        ({"offset": "1.5"}, "int_parsing"),
        ({"filter": "year"}, "string_pattern_mismatch"),
        ({"filter": ""}, "string_pattern_mismatch"),
        ({"filter": "Today"}, "string_pattern_mismatch"),
        ({"filter": "today\n"}, "string_pattern_mismatch"),
        ({"filter": " all"}, "string_pattern_mismatch"),
        ({"include_deleted": "perhaps"}, "bool_parsing"),
    ],
)
def test_3_parameters_of_the_list_are_checked(api: Api, query: Json, type: str) -> None:
    assert problem(api.get(f"{B}/sessions", **query)) == (type, ["query", *query])


def test_3_the_list_is_filtered_by_activity(api: Api, server: Served) -> None:
    moment = datetime.now(UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    hour = timedelta(hours=1)
    times = {
        "now": moment,
        "midnight": midnight,
        "yesterday": midnight - timedelta(microseconds=1),
        "in the week": moment - timedelta(days=7) + hour,
        "before the week": moment - timedelta(days=7) - hour,
        "in the month": moment - timedelta(days=30) + hour,
        "before the month": moment - timedelta(days=30) - hour,
    }
    for title, when in times.items():
        at(server, api.session(title), last_activity=when)

    def listed(**query: str) -> set[str]:
        return {each["title"] for each in api.sessions(**query)}

    week = {"now", "midnight", "yesterday", "in the week"}
    if datetime.now(UTC).date() == moment.date():
        assert listed(filter="today") == {"now", "midnight"}
    assert listed(filter="week") == week
    assert listed(filter="month") == week | {"before the week", "in the month"}
    assert listed(filter="all") == listed() == set(times)


def test_3_deleted_sessions_are_listed_only_when_asked_for(api: Api) -> None:
    kept, gone = api.session("kept"), api.session("gone")
    api.call("DELETE", f"{B}/sessions/{gone}")
    assert [each["session_id"] for each in api.sessions()] == [kept]
    assert [each["session_id"] for each in api.sessions(include_deleted="false")] == [kept]
    found = {each["session_id"]: each for each in api.sessions(include_deleted="true")}
    assert set(found) == {kept, gone}
    assert found[gone]["deleted_at"] is not None
    assert found[kept]["deleted_at"] is None


def test_3_archived_sessions_stay_listed(api: Api) -> None:
    session = api.session()
    moment = "2026-01-23T12:00:00+00:00"
    api.call("PATCH", f"{B}/sessions/{session}", {"archived_at": moment})
    [found] = api.sessions()
    assert datetime.fromisoformat(found["archived_at"]) == datetime.fromisoformat(moment)


# Titles


@pytest.mark.parametrize("title", [None, ""])
def test_3_without_a_title_a_session_is_listed_by_its_first_user_message(
    api: Api, title: str | None
) -> None:
    session = api.session(title)
    assert api.sessions()[0]["title"] == "Untitled Chat"
    api.send("🙂" * 50, session)
    api.send("second", session)
    assert api.sessions()[0]["title"] == "🙂" * 50
    first = api.messages(session)[0]["message_id"]
    api.call("PATCH", f"{B}/messages/{first}", {"content": "é" * 51})
    assert api.sessions()[0]["title"] == "é" * 50 + "..."
    assert api.one(session)["title"] in (title, "é" * 50 + "...")
    api.call("DELETE", f"{B}/messages/{first}")
    assert api.sessions()[0]["title"] == "second"


def test_3_a_title_is_listed_before_any_message(api: Api) -> None:
    session = api.session("A title")
    api.send("hello", session)
    assert api.sessions()[0]["title"] == "A title"


# Counters and times


def test_3_counts_and_activity_are_the_same_on_every_endpoint(api: Api) -> None:
    session = api.send("one")["session_id"]
    api.send("two", session)
    ids = [each["message_id"] for each in api.messages(session)]

    def count() -> int:
        [listed], one = api.sessions(), api.one(session)
        exported = api.get(f"{B}/sessions/{session}/export").json()["session"]
        for name in ("message_count", "last_activity", "created_at"):
            assert listed[name] == one[name] == exported[name]
        assert one["message_count"] == len(api.messages(session))
        patched = api.call("PATCH", f"{B}/sessions/{session}", {}).json()
        assert patched["message_count"] == one["message_count"]
        return int(one["message_count"])

    assert count() == 4
    api.call("DELETE", f"{B}/messages/{ids[0]}")
    assert count() == 3
    api.call("DELETE", f"{B}/messages/{ids[0]}")
    assert count() == 3
    api.call("DELETE", f"{B}/messages/{ids[0]}", soft="false")
    assert count() == 3
    api.call("DELETE", f"{B}/messages/{ids[1]}", soft="false")
    assert count() == 2


def test_3_activity_is_the_latest_of_creation_message_and_update(api: Api) -> None:
    session = api.session()
    created = api.one(session)
    api.send("hi", session)
    sent = api.one(session)
    assert sent["last_activity"] > created["last_activity"]
    assert sent["last_activity"] >= api.messages(session)[-1]["created_at"]
    patched = api.call("PATCH", f"{B}/sessions/{session}", {}).json()
    assert patched["last_activity"] > sent["last_activity"]
    assert api.one(session)["last_activity"] == patched["last_activity"]
    assert patched["created_at"] == created["created_at"]


# Renaming and archiving


def test_3_patch_renames_and_an_absent_or_null_title_leaves_it(api: Api) -> None:
    session = api.session("old")

    def patch(body: Json) -> Json:
        answer = api.call("PATCH", f"{B}/sessions/{session}", body)
        assert answer.status_code == 200
        return shown(answer.json())

    assert patch({"title": "new"})["title"] == "new"
    assert patch({})["title"] == "new"
    assert patch({"title": None})["title"] == "new"
    assert patch({"title": "x" * 500})["title"] == "x" * 500
    assert api.one(session)["title"] == "x" * 500


def test_3_a_patched_title_is_bounded(api: Api) -> None:
    session = api.session("old")
    for value, type in (("x" * 501, "string_too_long"), (5, "string_type"), ([], "string_type")):
        answer = api.call("PATCH", f"{B}/sessions/{session}", {"title": value})
        assert problem(answer) == (type, ["body", "title"])
    assert api.one(session)["title"] == "old"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-23T12:00:00Z",
        "2026-01-23T12:00:00+00:00",
        "2026-01-23T14:00:00+02:00",
        "2026-01-23T12:00:00.000000+00:00",
        "2026-01-23T12:00:00",
        "2026-01-23 12:00:00Z",
    ],
)
def test_3_archived_at_is_read_in_any_iso_form(api: Api, text: str) -> None:
    session = api.session()
    answer = api.call("PATCH", f"{B}/sessions/{session}", {"archived_at": text})
    assert answer.status_code == 200
    found = datetime.fromisoformat(shown(answer.json())["archived_at"])
    assert found == datetime(2026, 1, 23, 12, tzinfo=UTC)
    assert found.utcoffset() == timedelta(0)


def test_3_an_absent_archived_at_leaves_it_and_null_takes_it_back(api: Api) -> None:
    path = f"{B}/sessions/{api.session()}"
    api.call("PATCH", path, {"archived_at": "2026-01-23T12:00:00Z"})
    assert api.call("PATCH", path, {"title": "t"}).json()["archived_at"] is not None
    assert api.call("PATCH", path, {"archived_at": None}).json()["archived_at"] is None


@pytest.mark.parametrize(
    "value",
    [
        *("", "yesterday", "1769169600", "2026-13-01T00:00:00Z", "2026-01-23T25:00:00Z", "12:00"),
        *(1769169600, 1.5, True, [], {}, "0001-01-01T00:00:00+23:59", "2026-01-23T12:00:00Z\0"),
    ],
)
def test_3_what_is_no_date_time_is_422_and_changes_nothing(api: Api, value: object) -> None:
    path = f"{B}/sessions/{api.session('old')}"
    before = api.get(path).json()
    answer = api.call("PATCH", path, {"title": "new", "archived_at": value})
    [found] = problems(answer)
    assert (found["loc"], found["input"]) == (["body", "archived_at"], value)
    assert api.get(path).json() == before


def test_3_a_patch_needs_a_body(api: Api) -> None:
    path = f"{B}/sessions/{api.session()}"
    assert problem(api.call("PATCH", path)) == ("missing", ["body"])
    answer = api.call("PATCH", path, [])
    assert problem(answer) == ("model_attributes_type", ["body"])


# Deleting


def test_3_a_deletion_is_204_and_empty(api: Api, server: Served) -> None:
    for target in (
        f"{B}/sessions/{api.session()}?user_id={api.user}",
        f"{B}/sessions/{api.session()}?user_id={api.user}&soft=false",
    ):
        answer = server.raw("DELETE", target)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.header("content-type") is None
        assert answer.header("content-length") in (None, "0")


def test_3_a_soft_deletion_stamps_the_session_and_its_messages(api: Api) -> None:
    session = api.send("one")["session_id"]
    api.send("two", session)
    first = api.messages(session)[0]["message_id"]
    api.call("DELETE", f"{B}/messages/{first}")
    earlier = api.messages(session, include_deleted="true")[0]["deleted_at"]
    assert api.call("DELETE", f"{B}/sessions/{session}").status_code == 204
    found = api.one(session)
    assert found["deleted_at"] is not None
    assert found["message_count"] == 0
    assert api.messages(session) == []
    everything = api.messages(session, include_deleted="true")
    assert everything[0]["deleted_at"] == earlier
    assert {each["deleted_at"] for each in everything[1:]} == {found["deleted_at"]}


def test_3_what_is_softly_deleted_is_read_patched_and_exported_but_not_spoken_in(api: Api) -> None:
    session = api.send("hello")["session_id"]
    api.call("DELETE", f"{B}/sessions/{session}")
    deleted = api.one(session)["deleted_at"]
    patched = api.call("PATCH", f"{B}/sessions/{session}", {"title": "t"})
    assert patched.status_code == 200
    assert (patched.json()["title"], patched.json()["deleted_at"]) == ("t", deleted)
    exported = api.get(f"{B}/sessions/{session}/export")
    assert exported.status_code == 200
    assert exported.json()["messages"] == []
    sent = api.call("POST", f"{B}/messages", {"message": "hi", "session_id": session})
    assert refused(sent, 404) == "Session not found or access denied"
    assert len(api.messages(session, include_deleted="true")) == 2


def test_3_deleting_softly_twice_keeps_the_first_time(api: Api) -> None:
    session = api.session()
    assert api.call("DELETE", f"{B}/sessions/{session}").status_code == 204
    first = api.one(session)["deleted_at"]
    assert api.call("DELETE", f"{B}/sessions/{session}", soft="true").status_code == 204
    assert api.one(session)["deleted_at"] == first


@pytest.mark.parametrize("softly_before", [False, True])
def test_3_after_a_hard_deletion_everything_is_404(api: Api, softly_before: bool) -> None:
    session = api.send("hello")["session_id"]
    message = api.messages(session)[0]["message_id"]
    path = f"{B}/sessions/{session}"
    if softly_before:
        assert api.call("DELETE", path).status_code == 204
    assert api.call("DELETE", path, soft="false").status_code == 204
    for method, where, body in (
        ("GET", path, None),
        ("PATCH", path, {}),
        ("DELETE", path, None),
        ("DELETE", f"{path}?soft=false", None),
        ("GET", f"{path}/messages", None),
        ("GET", f"{path}/messages?include_deleted=true", None),
        ("GET", f"{path}/export", None),
        ("PATCH", f"{B}/messages/{message}", {"content": "x"}),
        ("DELETE", f"{B}/messages/{message}", None),
        ("POST", f"{B}/messages", {"message": "hi", "session_id": session}),
    ):
        joint = "&" if "?" in where else "?"
        given: Any = {} if body is None else {"json": body}
        refused(api.http.request(method, f"{where}{joint}user_id={api.user}", **given), 404)
    assert api.sessions(include_deleted="true") == []
    assert api.search("hello") == []


# Exporting


def exported(api: Api, session: str, format: str) -> str:
    answer = api.get(f"{B}/sessions/{session}/export", format=format)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == (
        f"attachment; filename=session_{session}.{format}"
    )
    return answer.content.decode()


@pytest.mark.parametrize(
    ("format", "media"),
    [
        ("json", "application/json"),
        ("txt", "text/plain; charset=utf-8"),
        ("md", "text/markdown; charset=utf-8"),
        (None, "application/json"),
    ],
)
def test_3_an_export_is_a_file_of_its_format(api: Api, format: str | None, media: str) -> None:
    session = api.send("hello")["session_id"]
    answer = api.get(f"{B}/sessions/{session}/export", format=format)
    assert answer.headers["content-type"] == media
    name = f"session_{session}.{format or 'json'}"
    assert answer.headers["content-disposition"] == f"attachment; filename={name}"


@pytest.mark.parametrize(
    ("id", "named"),
    [
        *(
            (id, f"filename=session_{id}.json")
            for id in ("session_ann@example.com", "a+b!#$&'*^|~")
        ),
        ("a b", "filename=\"session_a b.json\"; filename*=UTF-8''session_a%20b.json"),
        ("é/%41", "filename=\"session____41.json\"; filename*=UTF-8''session_%C3%A9%2F%2541.json"),
        ('"\\;', "filename=\"session___;.json\"; filename*=UTF-8''session_%22%5C%3B.json"),
    ],
)
def test_3_an_export_names_its_file_whatever_the_id(api: Api, id: str, named: str) -> None:
    api.submit("hello", session_id=id)
    answer = api.get(f"{B}/sessions/{quote(id, safe='')}/export")
    assert answer.headers["content-disposition"] == f"attachment; {named}"


def test_3_a_json_export_holds_the_session_and_its_messages(api: Api) -> None:
    session = api.send("hello")["session_id"]
    api.send("again", session)
    api.call("DELETE", f"{B}/messages/{api.messages(session)[1]['message_id']}")
    found = json.loads(exported(api, session, "json"))
    assert set(found) == {"session", "messages"}
    assert found["session"] == api.sessions()[0]
    assert found["messages"] == api.messages(session)


def test_3_a_text_export_is_as_agreed(api: Api) -> None:
    session = api.send("Grüße 🙂\nzweite Zeile")["session_id"]
    one, two = api.messages(session)
    assert exported(api, session, "txt") == (
        "Session: Grüße 🙂\nzweite Zeile\n"
        f"Created: {api.one(session)['created_at']}\n"
        "Messages: 2\n" + "=" * 80 + "\n\n"
        f"[USER] {one['created_at']}\n{one['content']}\n\n"
        f"[ASSISTANT] {two['created_at']}\n{two['content']}\n\n"
    )


def test_3_a_markdown_export_is_as_agreed(api: Api) -> None:
    session = api.session("A title")
    api.send("hello", session)
    one, two = api.messages(session)
    lines = exported(api, session, "md").split("\n")
    assert [line for line in lines if line] == [
        "# A title",
        f"**Created:** {api.one(session)['created_at']}",
        "**Messages:** 2",
        "---",
        "## 👤 User",
        f"*{one['created_at']}*",
        "hello",
        "## 🤖 Assistant",
        f"*{two['created_at']}*",
        *[line for line in two["content"].split("\n") if line],
    ]
    at = lines.index(f"*{one['created_at']}*")
    assert lines[at - 1 : at + 3] == ["## 👤 User", f"*{one['created_at']}*", "", "hello"]


def test_3_an_empty_session_is_exported_with_its_listed_title(api: Api) -> None:
    session = api.session()
    assert json.loads(exported(api, session, "json"))["session"]["title"] == "Untitled Chat"
    assert exported(api, session, "txt").startswith("Session: Untitled Chat\n")
    assert exported(api, session, "md").startswith("# Untitled Chat\n")


@pytest.mark.parametrize("format", ["", "JSON", "pdf", "json\n"])
def test_3_another_format_is_refused(api: Api, format: str) -> None:
    answer = api.get(f"{B}/sessions/{api.session()}/export", format=format)
    assert problem(answer) == ("string_pattern_mismatch", ["query", "format"])


def test_3_all_messages_are_exported(api: Api, server: Served) -> None:
    """More than one page of them."""
    session = api.send("hello")["session_id"]
    server.execute(
        "INSERT INTO message (session_id, role, content, created_at)"
        " SELECT s.id, 'user', 'copied', s.created_at FROM session s, message a, message b"
        " WHERE s.public_id = ? AND a.session_id = s.id AND b.session_id = s.id",
        session,
    )
    for _ in range(9):
        server.execute(
            "INSERT INTO message (session_id, role, content, created_at)"
            " SELECT m.session_id, m.role, m.content, m.created_at FROM message m"
            " JOIN session s ON s.id = m.session_id WHERE s.public_id = ? AND m.content = 'copied'",
            session,
        )
    server.execute(
        "UPDATE session SET message_count ="
        " (SELECT COUNT(*) FROM message m WHERE m.session_id = session.id) WHERE public_id = ?",
        session,
    )
    assert api.one(session)["message_count"] == 2 + 4 * 512
    found = json.loads(exported(api, session, "json"))["messages"]
    assert len(found) == 2 + 4 * 512
    ids = [each["message_id"] for each in found]
    assert ids == sorted(ids)
    assert exported(api, session, "txt").count("\ncopied\n") == 4 * 512


def test_3_sessions_of_unknown_ids_are_404(api: Api) -> None:
    id = str(uuid.uuid4())
    for method, path, body in (
        ("GET", f"{B}/sessions/{id}", None),
        ("PATCH", f"{B}/sessions/{id}", {"title": "t"}),
        ("DELETE", f"{B}/sessions/{id}", None),
        ("GET", f"{B}/sessions/{id}/messages", None),
        ("GET", f"{B}/sessions/{id}/export", None),
    ):
        refused(api.call(method, path, body), 404)

"""Section 1: conventions and errors."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from databases import ChosenDatabases

from .conftest import Api, B, Json, at_once, client_of, problem, problems, refused
from .served import Served, served

CALLS = [
    ("GET", f"{B}/sessions/{{id}}", None),
    ("PATCH", f"{B}/sessions/{{id}}", {}),
    ("DELETE", f"{B}/sessions/{{id}}", None),
    ("DELETE", f"{B}/sessions/{{id}}?soft=false", None),
    ("GET", f"{B}/sessions/{{id}}/messages", None),
    ("GET", f"{B}/sessions/{{id}}/export", None),
]
JSON = "Content-Type: application/json"


def user_in(call: tuple[str, str, Any], id: str, user: str) -> tuple[str, str, bytes]:
    method, path, body = call
    joint = "&" if "?" in path else "?"
    content = b"" if body is None else json.dumps(body).encode()
    return method, f"{path.format(id=id)}{joint}user_id={user}", content


# Base


def test_1_answers_are_json_in_utf_8(api: Api) -> None:
    api.session("Ärger 🙂 日本")
    answer = api.get(f"{B}/sessions")
    assert answer.headers["content-type"] == "application/json"
    assert "Ärger 🙂 日本" in answer.content.decode("utf-8")


def test_1_a_body_is_utf_8_with_or_without_a_byte_order_mark(api: Api) -> None:
    for mark in (b"", b"\xef\xbb\xbf"):
        body = mark + json.dumps({"user_id": api.user, "title": "é"}, ensure_ascii=False).encode()
        made = api.http.post(f"{B}/sessions", content=body)
        assert made.json()["title"] == "é"


def test_1_the_order_of_fields_and_the_type_of_the_body_do_not_matter(api: Api) -> None:
    body = f'{{"title": "t", "user_id": "{api.user}"}}'.encode()
    for media in (
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.api+json",
    ):
        made = api.http.post(f"{B}/sessions", content=body, headers={"Content-Type": media})
        assert made.status_code == 201, media
    assert api.http.post(f"{B}/sessions", content=body).status_code == 201


def test_1_a_body_that_says_it_is_something_else_is_422(api: Api) -> None:
    body = f'{{"user_id": "{api.user}"}}'
    for media in ("text/plain", "application/x-www-form-urlencoded"):
        answer = api.http.post(f"{B}/sessions", content=body, headers={"Content-Type": media})
        [found] = problems(answer)
        assert found == {
            "type": "model_attributes_type",
            "loc": ["body"],
            "msg": "Input should be a valid dictionary or object to extract fields from",
            "input": body,
        }


# Ids


def test_1_session_ids_are_uuids_of_version_4(api: Api) -> None:
    for id in (api.session(), api.send("hi")["session_id"]):
        assert (uuid.UUID(id).version, str(uuid.UUID(id))) == (4, id)
    assert isinstance(api.send("hi")["request_id"], str)


def test_1_message_ids_are_unique_ascending_integers(api: Api, bob: Api) -> None:
    sent = [each.send("hi")["session_id"] for each in (api, bob, api)]
    told = [who.messages(s) for s, who in zip(sent, (api, bob, api), strict=True)]
    ids = [message["message_id"] for messages in told for message in messages]
    assert all(type(id) is int for id in ids)
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0]} {call[1]}")
@pytest.mark.parametrize(
    "id",
    [
        *(
            "nope",
            "%2e%2e",
            "%2e",
            "%00",
            "x" * 300,
            "x" * 5000,
            "%F0%9F%99%82",
            "%ff%fe",
            "%ed%a0%80",
        ),
        *(
            "5408ae7a-4f9a-4bd6-bc57-2d6feb71ee84",
            "%20",
            "'",
            "%25",
            "a%2Fb",
            "..%2f..%2fetc",
            "%0d%0a",
        ),
    ],
)
def test_1_a_session_id_of_any_form_is_unknown(
    server: Served, user: str, call: tuple[str, str, Any], id: str
) -> None:
    method, target, body = user_in(call, id, user)
    answer = server.raw(method, target, JSON, body=body)
    assert answer.status == 404
    assert isinstance(json.loads(answer.body)["detail"], str)


def test_1_a_uuid_in_another_spelling_is_another_id(api: Api) -> None:
    id = api.session()
    for other in (id.upper(), id.replace("-", ""), f"%7B{id}%7D"):
        refused(api.get(f"{B}/sessions/{other}"), 404)


def test_1_an_encoded_id_is_the_same_id(server: Served, api: Api) -> None:
    id = api.session()
    encoded = "".join(f"%{ord(c):02x}" for c in id)
    answer = server.raw("GET", f"{B}/sessions/{encoded}?user_id={api.user}")
    assert (answer.status, json.loads(answer.body)["session_id"]) == (200, id)


@pytest.mark.parametrize("slash", ["%2F", "%2f"])
def test_1_a_slash_in_an_id_is_part_of_it(server: Served, api: Api, slash: str) -> None:
    session, request = f"session_org/{api.user}/", f"a b/é//{api.user}"
    api.submit("hello", session_id=session, context={"request_id": request})
    user, at = f"user_id={api.user}", f"{B}/sessions/{quote(session).replace('/', slash)}"

    def call(method: str, target: str, body: object = None) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        answer = server.raw(method, target, JSON, body=content)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    assert call("GET", f"{at}?{user}")["session_id"] == session
    assert call("PATCH", f"{at}?{user}", {"title": "t"})["title"] == "t"
    assert len(call("GET", f"{at}/messages?{user}")) == 2
    assert server.raw("GET", f"{at}/export?{user}").status == 200
    status = f"/api/v1/requests/{quote(request).replace('/', slash)}/status"
    assert call("GET", status)["state"] == "terminated"
    tool = call("GET", f"/api/v1/governance/tools/x{slash}y")
    assert tool["tool_name"] == "x/y"
    put = server.raw("PUT", f"{at}?{user}", JSON, body=b"{}")
    assert (put.status, json.loads(put.body)) == (405, {"detail": "Method Not Allowed"})
    assert server.raw("DELETE", f"{at}?{user}&soft=false").status == 204
    assert server.raw("GET", f"{at}?{user}").status == 404


def test_1_an_encoded_slash_parts_nothing(server: Served, api: Api) -> None:
    session = api.session()
    for target in (f"{B}%2Fsessions", f"{B}/sessions%2F{session}", f"{B}/sessions%2F"):
        answer = server.raw("GET", f"{target}?user_id={api.user}")
        assert (answer.status, json.loads(answer.body)) == (404, {"detail": "Not Found"})
    for id in (f"{session}%2F", f"{session}%2Fmessages", f"{session}%252F"):
        assert server.raw("GET", f"{B}/sessions/{id}?user_id={api.user}").status == 404
    answer = server.raw("DELETE", f"{B}/messages/1%2F2?user_id={api.user}")
    [found] = json.loads(answer.body)["detail"]
    assert (found["type"], found["input"]) == ("int_parsing", "1/2")


@pytest.mark.parametrize(
    "id",
    [
        *("abc", "1.5", "1e3", "0x10", "%00", "%F0%9F%99%82", "null", "--1", "%FF", "-", "%2B1"),
        *("1.0", "+1", "%201", "1%20", "1_0", "%0A1", "%D9%A1", "%EF%BC%91", "9" * 5000 + ".0"),
    ],
)
def test_1_a_message_id_that_is_no_integer_is_422(api: Api, id: str) -> None:
    for method, body in (("DELETE", None), ("PATCH", {"content": "x"})):
        answer = api.call(method, f"{B}/messages/{id}", body)
        assert problem(answer) == ("int_parsing", ["path", "message_id"])


@pytest.mark.parametrize(
    "id", ["0", "-1", str(2**31), str(2**63 - 1), str(2**63), "9" * 40, "9" * 5000]
)
def test_1_an_integer_that_no_message_has_is_404(api: Api, id: str) -> None:
    for method, body in (("DELETE", None), ("PATCH", {"content": "x"})):
        refused(api.call(method, f"{B}/messages/{id}", body), 404)
    refused(api.call("DELETE", f"{B}/messages/{id}", soft="false"), 404)


def test_1_only_its_own_spelling_names_a_message(api: Api) -> None:
    session = api.send("hi")["session_id"]
    id = api.messages(session)[0]["message_id"]
    for other in (f"{id}.0", f"+{id}", f"%20{id}", f"{id}%0A"):
        answer = api.call("DELETE", f"{B}/messages/{other}")
        assert problem(answer) == ("int_parsing", ["path", "message_id"])
    assert len(api.messages(session)) == 2


# Timestamps


def test_1_timestamps_are_iso_8601_with_a_utc_offset_and_absent_ones_null(api: Api) -> None:
    session = api.send("hi")["session_id"]
    for found, absent in (
        (api.one(session), ("deleted_at", "archived_at")),
        (api.messages(session)[0], ("deleted_at", "edited_at")),
    ):
        for name in set(found) & {"created_at", "last_activity"}:
            assert found[name].endswith(("Z", "+00:00"))
            assert datetime.fromisoformat(found[name]).utcoffset() == timedelta(0)
        for name in absent:
            assert found[name] is None


# user_id


def needing_users(session: str, message: int) -> list[tuple[str, str, Any]]:
    return [
        ("GET", f"{B}/sessions", None),
        *((method, path.format(id=session), body) for method, path, body in CALLS),
        ("POST", f"{B}/messages", {"message": "hi"}),
        ("PATCH", f"{B}/messages/{message}", {"content": "x"}),
        ("DELETE", f"{B}/messages/{message}", None),
        ("GET", f"{B}/search?query=x", None),
    ]


def test_1_user_id_is_required_in_the_query_of_every_chat_endpoint(api: Api) -> None:
    session = api.send("hi")["session_id"]
    message = api.messages(session)[0]["message_id"]
    for method, path, body in needing_users(session, message):
        for user, type in (
            (None, "missing"),
            ("", "string_too_short"),
            ("x" * 256, "string_too_long"),
        ):
            url = path if user is None else f"{path}{'&' if '?' in path else '?'}user_id={user}"
            answer = api.http.request(method, url, **({} if body is None else {"json": body}))
            assert problem(answer) == (type, ["query", "user_id"]), (method, path)
    assert len(api.messages(session)) == 2


@pytest.mark.parametrize(
    "path", ["chat/sessions", "requests", "confirmations", "chat/clarifications"]
)
def test_1_user_id_is_required_in_the_body_where_it_is_there(api: Api, path: str) -> None:
    rest = {
        "user_message": "m",
        "confirmation_id": "c",
        "user_response": "yes",
        "thread_id": "t",
        "clarification": "c",
    }
    for user, type in ((None, "missing"), ("", "string_too_short"), ("x" * 256, "string_too_long")):
        body = rest | ({} if user is None else {"user_id": user})
        answer = api.http.post(f"/api/v1/{path}?user_id={api.user}", json=body)
        assert problem(answer) == (type, ["body", "user_id"])


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "é" * 255,
        "🙂" * 255,
        "ann@example.com",
        " spaced ",
        "O'Neil; --",
        "\t",
        "\u202eabc",
        "e\u0301",
        "ANN",
    ],
)
def test_1_a_user_id_is_opaque_and_echoed_as_sent(api: Api, name: str) -> None:
    ann = api.of(name)
    session = ann.session()
    assert ann.one(session)["user_id"] == name
    assert {each["user_id"] for each in ann.sessions()} == {name}
    assert ann.send("hi", session)["session_id"] == session
    refused(api.get(f"{B}/sessions/{session}"), 404)


def test_1_users_that_differ_only_in_case_or_form_are_two(api: Api) -> None:
    session = api.of("Zoë").session()
    for other in ("zoë", "Zoe\u0308", "Zoë ", "ZOË"):
        refused(api.of(other).get(f"{B}/sessions/{session}"), 404)


def test_1_a_user_id_that_is_no_text_is_422_and_no_other_user(server: Served, user: str) -> None:
    calls = [
        *needing_users("x", 1),
        ("POST", f"{B}/messages", {"message": "a secret"}),
        ("GET", "/api/v1/governance/dashboard", None),
    ]
    for method, path, body in calls:
        for bad in ("%FF", "%FE", "%C3", "%ED%A0%80"):
            target = f"{path}{'&' if '?' in path else '?'}user_id={user}{bad}"
            content = b"" if body is None else json.dumps(body).encode()
            answer = server.raw(method, target, JSON, body=content)
            assert answer.status == 422, target
            [found] = json.loads(answer.body)["detail"]
            assert (found["type"], found["loc"]) == ("string_type", ["query", "user_id"])
            assert found["input"].startswith(f"{user}\ufffd")
    replaced = server.raw("GET", f"{B}/sessions?user_id={user}%EF%BF%BD")
    assert (replaced.status, json.loads(replaced.body)) == (200, [])


def test_1_what_is_no_text_matters_only_in_a_known_parameter(server: Served, api: Api) -> None:
    session = api.session()
    known = f"user_id={api.user}"
    for query in (f"x=%FF&{known}", f"%FF=x&{known}", f"user_id=%FF&{known}", f"{known}&&=&limit"):
        answer = server.raw("GET", f"{B}/sessions/{session}?{query}")
        assert answer.status == 200, query
    for name, type in (
        ("limit", "int_parsing"),
        ("include_deleted", "bool_parsing"),
        ("filter", "string_type"),
    ):
        answer = server.raw("GET", f"{B}/sessions?{known}&{name}=%FF")
        [found] = json.loads(answer.body)["detail"]
        told = (answer.status, found["type"], found["loc"], found["input"])
        assert told == (422, type, ["query", name], "\ufffd")


def test_1_a_plus_in_a_query_is_a_space(server: Served, api: Api) -> None:
    session = api.of(f"{api.user} a").session()
    found = json.loads(server.raw("GET", f"{B}/sessions?user_id={api.user}+a").body)
    assert [each["session_id"] for each in found] == [session]


# Lengths


@pytest.mark.parametrize("letter", ["x", "é", "🙂", "e\u0301"[1]])
def test_1_lengths_are_counted_in_code_points_inclusively(api: Api, letter: str) -> None:
    assert api.session(letter * 500)
    [found] = problems(api.post("chat/sessions", title=letter * 501))
    assert found == {
        "type": "string_too_long",
        "loc": ["body", "title"],
        "msg": "String should have at most 500 characters",
        "input": letter * 501,
        "ctx": {"max_length": 500},
    }


# Booleans


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "TRUE", "Yes", "oN", "True"])
def test_1_a_boolean_is_true_in_any_case(api: Api, word: str) -> None:
    api.call("DELETE", f"{B}/sessions/{api.session()}")
    assert len(api.sessions(include_deleted=word)) == 1


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "FALSE", "No", "oFF", "False"])
def test_1_a_boolean_is_false_in_any_case(api: Api, word: str) -> None:
    api.call("DELETE", f"{B}/sessions/{api.session()}")
    assert api.sessions(include_deleted=word) == []


@pytest.mark.parametrize(
    "word", ["", "2", "t", "f", "y", "n", "maybe", " true", "null", "-1", "01", "ＴＲＵＥ"]
)
def test_1_other_text_is_no_boolean(api: Api, word: str) -> None:
    session = api.session()
    for method, path, name in (
        ("GET", f"{B}/sessions", "include_deleted"),
        ("GET", f"{B}/sessions/{session}/messages", "include_deleted"),
        ("DELETE", f"{B}/sessions/{session}", "soft"),
        ("DELETE", f"{B}/messages/1", "soft"),
    ):
        [found] = problems(api.call(method, path, **{name: word}))
        assert found == {
            "type": "bool_parsing",
            "loc": ["query", name],
            "msg": "Input should be a valid boolean, unable to interpret input",
            "input": word,
        }
    assert api.one(session)["deleted_at"] is None


# Unknown and repeated


def test_1_unknown_fields_and_parameters_are_ignored(api: Api) -> None:
    assert api.post("chat/sessions", colour="red", session_id="mine").status_code == 201
    assert api.get(f"{B}/sessions", colour="red").status_code == 200
    session = api.session()
    assert api.get(f"{B}/sessions/{session}", session_id="other").json()["session_id"] == session
    assert api.call("PATCH", f"{B}/sessions/{session}", {"user_id": "bob"}).status_code == 200
    assert api.one(session)["user_id"] == api.user


def test_1_of_a_repeated_parameter_the_last_one_counts(server: Served, api: Api) -> None:
    session = api.session()
    target = f"{B}/sessions?user_id=nobody&limit=x&limit=5&user_id={api.user}"
    assert [each["session_id"] for each in json.loads(server.raw("GET", target).body)] == [session]


def test_1_of_a_repeated_field_the_last_one_counts(api: Api) -> None:
    body = f'{{"user_id": "{api.user}", "title": 5, "title": "last"}}'
    assert api.http.post(f"{B}/sessions", content=body).json()["title"] == "last"


# Ownership


def test_1_what_is_anothers_looks_exactly_like_what_does_not_exist(api: Api, bob: Api) -> None:
    session = api.send("hi")["session_id"]
    message = api.messages(session)[0]["message_id"]
    unknown = str(uuid.uuid4())
    for method, path, body in CALLS:
        theirs = bob.call(method, path.format(id=session), body)
        none = bob.call(method, path.format(id=unknown), body)
        assert theirs.status_code == none.status_code == 404
        assert theirs.text.replace(session, "ID") == none.text.replace(unknown, "ID")
        assert set(theirs.headers) == set(none.headers)
    for method, body in (("PATCH", {"content": "x"}), ("DELETE", None)):
        theirs = bob.call(method, f"{B}/messages/{message}", body)
        none = bob.call(method, f"{B}/messages/{2**40}", body)
        assert theirs.status_code == none.status_code == 404
        assert theirs.text.replace(str(message), "ID") == none.text.replace(str(2**40), "ID")
    for id in (session, unknown):
        sent = bob.call("POST", f"{B}/messages", {"message": "hi", "session_id": id})
        assert refused(sent, 404) == "Session not found or access denied"
    assert len(api.messages(session)) == 2


# Authentication


def test_1_without_authentication_a_token_is_not_looked_at(api: Api) -> None:
    for header in ("Bearer nonsense", "Basic x", ""):
        answer = api.http.get(f"{B}/sessions?user_id={api.user}", headers={"Authorization": header})
        assert answer.status_code == 200


OPEN = ["/", "/health", "/ready"]


def test_1_with_authentication_a_missing_or_wrong_token_is_401(asking: Served) -> None:
    token = asking.token("ann")
    with client_of(asking) as http:
        for header in (
            None,
            "",
            "Bearer",
            "Bearer wrong",
            f"Basic {token}",
            token,
            f"Bearer {token}x",
            f"Bearer {token[:-1]}",
        ):
            headers = {} if header is None else {"Authorization": header}
            for method, path, body in [
                *needing_users(str(uuid.uuid4()), 1),
                ("POST", f"{B}/sessions", {"user_id": "ann"}),
                ("POST", "/api/v1/requests", {"user_id": "ann", "user_message": "m"}),
                ("POST", "/api/v1/confirmations", {}),
                ("POST", f"{B}/clarifications", {}),
                ("GET", "/api/v1/requests/x/status", None),
                ("GET", "/api/v1/metrics", None),
                ("GET", "/api/v1/governance/health", None),
                ("GET", "/api/v1/governance/tools/x", None),
                ("GET", "/api/v1/governance/dashboard", None),
            ]:
                given: Any = {} if body is None else {"json": body}
                answer = http.request(method, path, headers=headers, **given)
                refused(answer, 401)
                assert answer.headers["www-authenticate"].startswith("Bearer")
            for path in OPEN:
                assert http.get(path, headers=headers).status_code == 200


def test_1_a_token_is_bound_to_one_user(asking: Served) -> None:
    token = asking.token("ann")
    with client_of(asking, headers={"Authorization": f"Bearer {token}"}) as http:
        session = http.post(f"{B}/sessions", json={"user_id": "ann"}).json()["session_id"]
        assert http.get(f"{B}/sessions/{session}?user_id=ann").status_code == 200
        for method, path, body in needing_users(session, 1):
            url = f"{path}{'&' if '?' in path else '?'}user_id=bob"
            given: Any = {} if body is None else {"json": body}
            refused(http.request(method, url, **given), 403)
        for path in ("chat/sessions", "requests", "confirmations", "chat/clarifications"):
            body = {
                "user_id": "bob",
                "user_message": "m",
                "confirmation_id": "c",
                "user_response": "yes",
                "thread_id": "t",
                "clarification": "c",
            }
            refused(http.post(f"/api/v1/{path}", json=body), 403)
        refused(http.get("/api/v1/governance/dashboard?user_id=bob"), 403)


def test_1_the_scheme_of_a_token_is_read_in_any_case(asking: Served) -> None:
    token = asking.token("ann")
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = asking.raw("GET", f"{B}/sessions?user_id=ann", f"Authorization: {scheme} {token}")
        assert answer.status == 200


# Cross-origin


def test_1_other_origins_are_not_allowed_unless_configured(api: Api, tmp_path: Path) -> None:
    there = {"Origin": "https://chat.example"}
    refused(api.http.get("/api/v1/metrics", headers=there), 403)
    answer = api.http.get("/api/v1/metrics", headers={"Origin": api.server.url})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    ask = {
        **there,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
    }
    there_too = served(tmp_path, allowed_origins=["https://chat.example"])
    with there_too as server, client_of(server) as http:
        asked = http.options(f"{B}/sessions/x", headers=ask)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == "https://chat.example"
        assert "PATCH" in asked.headers["access-control-allow-methods"]
        for method, path in (("GET", "/api/v1/metrics"), ("DELETE", f"{B}/sessions/x")):
            answer = http.request(method, path, headers=there)
            assert answer.headers["access-control-allow-origin"] == "https://chat.example"
        exposed = answer.headers["access-control-expose-headers"].lower()
        assert {"retry-after", "content-disposition"} <= set(exposed.split(", "))


# Errors


def test_1_an_unknown_route_is_404_not_found(server: Served) -> None:
    for target in (
        "/api/v1/nothing",
        "/api/v1",
        "/api",
        "/nope",
        f"{B}/sessions/a/b/c",
        "/api/v2/chat/sessions",
    ):
        answer = server.raw("GET", target)
        assert (answer.status, json.loads(answer.body)) == (404, {"detail": "Not Found"})
        assert answer.header("content-type") == "application/json"


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        (f"{B}/sessions", {"GET", "POST"}),
        (f"{B}/sessions/x", {"GET", "PATCH", "DELETE"}),
        (f"{B}/sessions/x/messages", {"GET"}),
        (f"{B}/messages", {"POST"}),
        (f"{B}/messages/1", {"PATCH", "DELETE"}),
        (f"{B}/search", {"GET"}),
        (f"{B}/sessions/x/export", {"GET"}),
        ("/api/v1/requests", {"POST"}),
        ("/api/v1/confirmations", {"POST"}),
        (f"{B}/clarifications", {"POST"}),
        ("/api/v1/requests/x/status", {"GET"}),
        ("/api/v1/metrics", {"GET"}),
        ("/api/v1/governance/health", {"GET"}),
        ("/api/v1/governance/tools/x", {"GET"}),
        ("/api/v1/governance/dashboard", {"GET"}),
        ("/", {"GET"}),
        ("/health", {"GET"}),
        ("/ready", {"GET"}),
    ],
)
def test_1_a_wrong_method_is_405_and_says_which_are_right(
    server: Served, target: str, allowed: set[str]
) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - allowed:
        answer = server.raw(method, target, JSON, body=b"{}")
        assert (answer.status, json.loads(answer.body)) == (405, {"detail": "Method Not Allowed"})
        found = set((answer.header("allow") or "").split(", "))
        assert found - {"HEAD"} == allowed
        assert ("HEAD" in found) is ("GET" in allowed)


def test_1_head_is_get_without_the_body(server: Served, api: Api) -> None:
    session = api.session()
    for target in ("/", f"{B}/sessions/{session}?user_id={api.user}"):
        head, get = server.raw("HEAD", target), server.raw("GET", target)
        assert (head.status, head.body) == (200, b"")
        for name in ("content-type", "content-length"):
            assert head.header(name) == get.header(name)


def test_1_a_trailing_slash_leads_to_the_path_without_it(server: Served, api: Api) -> None:
    for method, path in (("GET", f"{B}/sessions"), ("POST", f"{B}/messages"), ("GET", "/health")):
        answer = server.raw(method, f"{path}/?user_id=a", JSON, body=b"{}", host="127.0.0.1")
        assert (answer.status, answer.header("location")) == (
            307,
            f"http://127.0.0.1{path}?user_id=a",
        )
    made = api.http.post(f"{B}/sessions/", json={"user_id": api.user}, follow_redirects=True)
    assert made.status_code == 201


def test_1_all_problems_of_a_request_are_told_at_once(api: Api) -> None:
    answer = api.call("PATCH", f"{B}/messages/x", {"content": 5}, user_id=None)
    assert [(each["type"], each["loc"]) for each in problems(answer)] == [
        ("int_parsing", ["path", "message_id"]),
        ("missing", ["query", "user_id"]),
        ("string_type", ["body", "content"]),
    ]
    answer = api.get(f"{B}/sessions", limit=0, offset=-1, filter="", include_deleted="x")
    assert [(each["type"], each["loc"][1]) for each in problems(answer)] == [
        ("string_pattern_mismatch", "filter"),
        ("bool_parsing", "include_deleted"),
        ("greater_than_equal", "limit"),
        ("greater_than_equal", "offset"),
    ]


@pytest.mark.parametrize(
    ("body", "type", "loc"),
    [
        (b"", "missing", ["body"]),
        (b"null", "missing", ["body"]),
        (b"{}", "missing", ["body", "message"]),
        (b"{", "json_invalid", ["body", 1]),
        (b"[" * 201 + b"]" * 201, "json_invalid", ["body", 0]),
    ],
)
def test_1_a_problem_of_the_query_hides_none_of_the_body(
    api: Api, body: bytes, type: str, loc: list[Any]
) -> None:
    answer = api.http.post(f"{B}/messages", content=body)
    assert [(each["type"], each["loc"]) for each in problems(answer)] == [
        ("missing", ["query", "user_id"]),
        (type, loc),
    ]


NO_INTEGER = "Input should be a valid integer, unable to parse string as an integer"
PATTERN = "^(today|week|month|all)$"


@pytest.mark.parametrize(
    ("query", "type", "msg", "ctx"),
    [
        *(({"limit": v}, "int_parsing", NO_INTEGER, None) for v in ("x", "", "1.5", "1e2", "0x1")),
        (
            {"limit": "0"},
            "greater_than_equal",
            "Input should be greater than or equal to 1",
            {"ge": 1},
        ),
        (
            {"limit": "201"},
            "less_than_equal",
            "Input should be less than or equal to 200",
            {"le": 200},
        ),
        (
            {"filter": "year"},
            "string_pattern_mismatch",
            f"String should match pattern '{PATTERN}'",
            {"pattern": PATTERN},
        ),
        (
            {"user_id": ""},
            "string_too_short",
            "String should have at least 1 character",
            {"min_length": 1},
        ),
        ({"user_id": None}, "missing", "Field required", None),
    ],
)
def test_1_a_parameter_that_does_not_validate_is_told_as_fastapi_tells_it(
    api: Api, query: dict[str, str | None], type: str, msg: str, ctx: Json | None
) -> None:
    [(name, value)] = query.items()
    [found] = problems(api.get(f"{B}/sessions", **query))
    expected = {"type": type, "loc": ["query", name], "msg": msg, "input": value}
    assert found == (expected if ctx is None else expected | {"ctx": ctx})


@pytest.mark.parametrize("digits", ["9" * 19, "9" * 101, "9" * 4301, "9" * 9_000])
def test_1_a_number_of_any_length_is_only_out_of_range(api: Api, digits: str) -> None:
    session = api.session()
    for path in (f"{B}/sessions", f"{B}/sessions/{session}/messages"):
        assert api.get(path, offset=digits).json() == []
        for name, value, type in (
            ("limit", digits, "less_than_equal"),
            ("limit", f"-{digits}", "greater_than_equal"),
            ("offset", f"-{digits}", "greater_than_equal"),
        ):
            [found] = problems(api.get(path, **{name: value}))
            told = (found["type"], found["loc"], found["input"])
            assert told == (type, ["query", name], value)
    for odd in ("9" * 5000 + ".0", "9_" * 5000 + "9"):
        assert problem(api.get(f"{B}/sessions", limit=odd)) == ("int_parsing", ["query", "limit"])
    answer = api.get("/api/v1/governance/tools/x", period_hours=digits)
    assert problem(answer) == ("less_than_equal", ["query", "period_hours"])


NO_OBJECT = "Input should be a valid dictionary or object to extract fields from"
NO_STRING = "Input should be a valid string"


@pytest.mark.parametrize(
    ("body", "type", "loc", "msg", "input"),
    [
        *(
            (body, "json_invalid", [offset], "JSON decode error", {})
            for body, offset in (
                *((b"{", 1), (b'{"user_id" "a"}', 11), (b"hello", 0), (b'{"user_id": "a"} x', 17)),
                *((b" ", 1), (b'{"a": tru}', 6), ('{"é🙂": x}'.encode(), 7), (b'{"a":"\n"}', 6)),
            )
        ),
        (b"", "missing", [], "Field required", None),
        (b"null", "missing", [], "Field required", None),
        (b"{}", "missing", ["user_id"], "Field required", {}),
        (b"[]", "model_attributes_type", [], NO_OBJECT, []),
        (b"5", "model_attributes_type", [], NO_OBJECT, 5),
        (b'"text"', "model_attributes_type", [], NO_OBJECT, "text"),
        (b'{"user_id": 5}', "string_type", ["user_id"], NO_STRING, 5),
        (b'{"user_id": null}', "string_type", ["user_id"], NO_STRING, None),
        (b'{"user_id": 1.5}', "string_type", ["user_id"], NO_STRING, 1.5),
        (b'{"user_id": "a", "title": ["t"]}', "string_type", ["title"], NO_STRING, ["t"]),
    ],
)
def test_1_a_body_that_does_not_validate_is_told_as_fastapi_tells_it(
    server: Served, body: bytes, type: str, loc: list[Any], msg: str, input: Any
) -> None:
    length = "X-Length: some" if body else "Content-Length: 0"
    answer = server.raw("POST", f"{B}/sessions", JSON, length, body=body)
    assert answer.status == 422
    [found] = json.loads(answer.body)["detail"]
    if type == "json_invalid":
        assert isinstance(found.pop("ctx")["error"], str)
    assert found == {"type": type, "loc": ["body", *loc], "msg": msg, "input": input}


UNREADABLE = [
    *(b"\xff", b'{"user_id": "\xff"}', b'{"user_id": "\\ud800"}', b'{"user_id": "\xed\xa0\x80"}'),
    *(b"{" * 100_000, b"[" * 100_000, b'{"a":' * 100_000, b"\0", b'{"user_id": "\0"}', b"true"),
    *(b'{"user_id": NaN}', b'{"user_id": Infinity}', b'{"user_id": 1e999999}'),
    *(b'{"user_id": ' + b"9" * 5000 + b"}", b'{"user_id": -0}', b'{"user_id": "\\u0000"}'),
    *('{"user_id": "a"}'.encode("utf-16"), b'{"user_id": "a", "title": "\\u0000"}'),
    b'{"user_id": "a", "title": "\\udfff"}',
    b'{"user_id": {"a": {"b": ["\\u0000"]}}}',
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
def test_1_what_no_parser_takes_is_422_and_never_5xx(server: Served, body: bytes) -> None:
    for target in (f"{B}/sessions", "/api/v1/requests", f"{B}/messages?user_id=a"):
        answer = server.raw("POST", target, JSON, body=body)
        assert answer.status == 422
        assert isinstance(json.loads(answer.body)["detail"], list)


@pytest.mark.parametrize("levels", [253, 254, 255, 1000, 1023])
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", f"{B}/sessions"),
        ("PATCH", f"{B}/sessions/x?user_id=a"),
        ("POST", f"{B}/messages?user_id=a"),
        ("PATCH", f"{B}/messages/1?user_id=a"),
        ("POST", "/api/v1/requests"),
        ("POST", "/api/v1/confirmations"),
        ("POST", f"{B}/clarifications"),
    ],
)
def test_1_a_body_that_is_nested_too_deep_is_422(
    server: Served, method: str, target: str, levels: int
) -> None:
    lists, objects = b"[" * levels + b"]" * levels, b'{"a":' * levels + b"1" + b"}" * levels
    for body in (lists, objects, b'{"user_id": %b}' % lists, b'{"title": %b}' % objects):
        answer = server.raw(method, target, JSON, body=body)
        assert answer.status == 422
        [found] = json.loads(answer.body)["detail"]
        assert (found["type"], found["loc"], found["input"]) == ("json_invalid", ["body", 0], {})
        assert found["ctx"] == {"error": "Nested deeper than 200 levels"}


def test_1_a_body_is_nested_as_deep_as_is_allowed_and_may_be_echoed(api: Api) -> None:
    deep: Any = []
    for _ in range(198):
        deep = [deep]
    assert api.post("chat/sessions", unknown=deep).status_code == 201
    [found] = problems(api.post("chat/sessions", title=deep))
    assert (found["type"], found["input"]) == ("string_type", deep)


def test_1_a_body_above_the_limit_is_413(server: Served, api: Api) -> None:
    for body in (b'{"message": "' + b"x" * (1 << 20) + b'"}',):
        for target in (f"{B}/messages?user_id={api.user}", f"{B}/sessions", "/api/v1/requests"):
            answer = server.raw("POST", target, JSON, body=body)
            assert answer.status == 413
            assert isinstance(json.loads(answer.body)["detail"], str)
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = server.raw(
        "POST", f"{B}/sessions", JSON, "Transfer-Encoding: chunked", body=chunk * 100 + b"0\r\n\r\n"
    )
    assert answer.status == 413
    assert api.sessions() == []


def test_1_a_body_of_the_limit_is_taken(api: Api) -> None:
    empty = {"user_message": "hi", "user_id": api.user, "context": {"pad": ""}}
    room = (1 << 20) - len(json.dumps(empty))
    body = json.dumps({**empty, "context": {"pad": "x" * room}})
    assert len(body) == 1 << 20
    assert api.http.post("/api/v1/requests", content=body).status_code in (200, 400)


def test_1_a_full_backlog_is_429_with_the_time_to_wait(tmp_path: Path) -> None:
    with served(tmp_path, max_backlog=2) as server, client_of(server) as http:
        api = Api(server, http, "ann")
        server.gates.gate("first")
        session = api.session()

        def ask(number: int) -> httpx.Response:
            text = "first" if number == 0 else f"held {number}"
            if number:
                assert server.gates.reached["first"].wait(60)
            return api.post(
                "requests", user_message=text, session_id=session, context={"capability": "held"}
            )

        def ask_and_open(number: int) -> httpx.Response:
            answer = ask(number)
            if answer.status_code == 429:
                turned_away.append(answer)
            if len(turned_away) == 3:
                server.gates.opened["first"].set()
            return answer

        turned_away: list[httpx.Response] = []
        answers = at_once(6, ask_and_open)
        assert sorted(each.status_code for each in answers) == [200, 200, 200, 429, 429, 429]
        for answer in turned_away:
            assert refused(answer, 429)
            assert int(answer.headers["retry-after"]) >= 1


def test_1_a_rate_limit_is_429_with_the_time_to_wait(tmp_path: Path) -> None:
    with served(tmp_path, rate_limits=["2/hour"]) as server, client_of(server) as http:
        api = Api(server, http, "ann")
        assert [api.send(text)["status"] for text in ("one", "two")] == ["completed"] * 2
        for answer in (
            api.call("POST", f"{B}/messages", {"message": "three"}),
            api.post("requests", user_message="three"),
        ):
            refused(answer, 429)
            assert 1 <= int(answer.headers["retry-after"]) <= 3600
        assert api.of("bob").send("one")["status"] == "completed"
        assert len(api.sessions()) == 2


def test_1_a_failure_shows_no_sql_path_or_trace(api: Api) -> None:
    made = api.submit("x", context={"capability": "broken"})
    assert made["status"] == "failed"
    assert "SELECT" not in json.dumps(made)
    assert "passwd" not in json.dumps(made)


def test_1_nothing_names_the_software_it_is_made_of(server: Served) -> None:
    answer = server.raw("GET", f"{B}/sessions/x?user_id=a")
    assert answer.header("server") is None
    assert answer.header("x-content-type-options") == "nosniff"


def test_1_an_unexpected_failure_is_500_and_tells_nothing_of_the_inside(
    tmp_path: Path, databases: ChosenDatabases
) -> None:
    with served(tmp_path) as server, client_of(server) as http:
        made = http.post(f"{B}/sessions", json={"user_id": "ann"}).json()
        server.execute("ALTER TABLE message RENAME TO gone")
        path = f"{B}/sessions/{made['session_id']}/messages?user_id=ann"
        answer = http.get(path)
        detail = refused(answer, 500)
        assert detail == f"Internal error (incident {answer.headers['x-request-id']})"
        server.execute("ALTER TABLE gone RENAME TO message")
        assert http.get(path).status_code == 200

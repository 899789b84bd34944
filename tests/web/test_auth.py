import pytest
from starlette.requests import HTTPConnection

from mission_system.core.errors import InvalidInput
from mission_system.core.identity import LOCAL, Caller
from mission_system.web.auth import caller_of


def connection(*users: bytes) -> HTTPConnection:
    return HTTPConnection(
        {"type": "http", "headers": [(b"x-mission-user", user) for user in users]}
    )


def test_without_the_header_it_is_the_local_admin() -> None:
    assert caller_of(connection()) == LOCAL
    assert caller_of(connection(b"local")) == LOCAL


@pytest.mark.parametrize("name", ["alice", "a b", "Zoë", "用户", "x" * 255, "ü" * 255])
def test_the_header_names_the_user(name: str) -> None:
    assert caller_of(connection(name.encode())) == Caller(name, "user")


@pytest.mark.parametrize("raw", [b"", b"x" * 256, b"\xff\xfe"])
def test_a_header_that_names_nobody_is_invalid(raw: bytes) -> None:
    with pytest.raises(InvalidInput) as error:
        caller_of(connection(raw))
    assert error.value.field == "X-Mission-User"

"""Services: found by name, entered and left in time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mission_system.core.errors import Unavailable
from mission_system.core.services import Services

TOLD: list[str] = []


@asynccontextmanager
async def index() -> AsyncIterator[str]:
    TOLD.append("entered")
    yield "the index"
    TOLD.append("left")


@pytest.fixture
def services() -> Services:
    TOLD.clear()
    services = Services()
    services.register("plain", "an object")
    services.register("index", index())
    return services


async def test_a_context_is_a_service_while_it_is_entered(services: Services) -> None:
    assert services.get("plain") == "an object"
    with pytest.raises(Unavailable, match="service 'index' is not open"):
        services.get("index")
    for name in services:
        await services.open(name)
    assert (services.get("index"), TOLD) == ("the index", ["entered"])
    for name in services:
        await services.close(name)
        await services.close(name)
    assert TOLD == ["entered", "left"]
    with pytest.raises(Unavailable):
        services.get("index")


def test_an_unknown_name_tells_the_choices(services: Services) -> None:
    with pytest.raises(KeyError, match="no service 'other'; there are: index, plain"):
        services.get("other")


def test_a_name_is_registered_once(services: Services) -> None:
    with pytest.raises(ValueError, match="service 'plain' is registered twice"):
        services.register("plain", 2)

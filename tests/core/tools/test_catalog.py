from __future__ import annotations

import pytest

from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.decorator import tool
from mission_system.core.tools.spec import ToolRegistry


@tool
def search(query: str) -> str:
    """Search."""
    return query


@tool(name="search")
def other_search(query: str) -> str:
    """Search elsewhere."""
    return query


@tool
def fetch(url: str) -> str:
    """Fetch."""
    return url


def test_registered_tools_are_found_listed_and_counted() -> None:
    catalog = ToolCatalog([search])
    catalog.register(fetch, owner="acme-web 1.0")
    registry: ToolRegistry = catalog
    assert isinstance(catalog, ToolRegistry)
    assert registry.get("search") is search
    assert registry.get("nothing") is None
    assert list(registry) == [search, fetch]
    assert len(catalog) == 2
    assert catalog.owner("fetch") == "acme-web 1.0"
    assert catalog.owner("search") is None


def test_a_clash_names_both_owners_and_both_functions() -> None:
    catalog = ToolCatalog()
    catalog.register(search, owner="acme-docs 1.2")
    with pytest.raises(ValueError, match="registered twice") as caught:
        catalog.register(other_search, owner="acme-mail 3.0")
    for part in ("acme-docs 1.2", "acme-mail 3.0", "test_catalog.search", "other_search", "name="):
        assert part in str(caught.value)
    assert catalog.get("search") is search
    assert catalog.owner("search") == "acme-docs 1.2"


def test_a_clash_without_owners_names_both_functions() -> None:
    with pytest.raises(ValueError, match=r"test_catalog\.search and by .*\.other_search"):
        ToolCatalog([search, other_search])


def test_a_plain_function_is_refused_with_advice() -> None:
    def plain() -> None: ...

    with pytest.raises(TypeError, match="decorate the function with @tool"):
        ToolCatalog().register(plain)  # type: ignore[arg-type]  # pyright: ignore


def test_registering_while_iterating_does_not_disturb_the_iteration() -> None:
    catalog = ToolCatalog([search])
    for _ in catalog:
        catalog.register(fetch)
    assert len(catalog) == 2

"""The default `ToolRegistry`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .arguments import source_of
from .spec import ToolSpec


class ToolCatalog:
    """Tools by name, in the order of registration. A name has one owner."""

    def __init__(self, specs: Iterable[ToolSpec] = ()) -> None:
        self._specs: dict[str, ToolSpec] = {}
        self._owners: dict[str, str] = {}
        for spec in specs:
            self.register(spec)

    def register(self, spec: ToolSpec, *, owner: str | None = None) -> None:
        """Add a tool. `owner` says in messages whose it is, such as `acme-docs 1.2`.

        Raises:
            TypeError: this is not a ToolSpec.
            ValueError: the name is taken; the message names both owners and both functions.
        """
        if not isinstance(spec, ToolSpec):
            raise TypeError(f"expected a ToolSpec, got {spec!r}; decorate the function with @tool")
        if spec.name in self._specs:
            raise ValueError(
                f"tool '{spec.name}' is registered twice: by "
                f"{_describe(self._specs[spec.name], self._owners.get(spec.name))} and by "
                f"{_describe(spec, owner)}; rename one with @tool(name=...)"
            )
        self._specs[spec.name] = spec
        if owner is not None:
            self._owners[spec.name] = owner

    def get(self, name: str) -> ToolSpec | None:
        """The tool of that name, or None."""
        return self._specs.get(name)

    def owner(self, name: str) -> str | None:
        """Who registered the tool of that name, or None when nobody said so."""
        return self._owners.get(name)

    def __iter__(self) -> Iterator[ToolSpec]:
        return iter(tuple(self._specs.values()))

    def __len__(self) -> int:
        return len(self._specs)


def _describe(spec: ToolSpec, owner: str | None) -> str:
    source = source_of(spec.function)
    return source if owner is None else f"{owner} ({source})"

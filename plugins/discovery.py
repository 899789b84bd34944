"""Finds plugins without importing any of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial, reduce
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distributions

from .faults import PluginFault, describe, guard
from .hookspecs import PROJECT

GROUP = PROJECT
OWN_DISTRIBUTION = "mission-system"
UNNAMED = "unnamed distribution"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin not loaded yet. `load` gives the plugin object or raises `PluginFault`."""

    name: str
    distribution: str | None
    version: str | None
    load: Callable[[], object]


def given(plugins: Iterable[object]) -> list[Candidate]:
    """Plugins that the embedding program hands over, named by their `__name__` or their type."""
    return [Candidate(_name_of(plugin), None, None, partial(_same, plugin)) for plugin in plugins]


def installed() -> list[Candidate]:
    """Every entry point of the group: this distribution's first, then by name."""
    found: list[Candidate] = []
    seen: set[str] = set()
    for distribution in distributions():
        # Read one by one: `importlib.metadata.entry_points()` fails as a whole when any
        # distribution, even one that is no plugin, has a broken file.
        try:
            if GROUP not in (distribution.read_text("entry_points.txt") or ""):
                continue
            name, version = _identity(distribution)
            candidates = [
                Candidate(point.name, name, version, partial(_import, point, name))
                for point in distribution.entry_points.select(group=GROUP)
            ]
        except Exception as error:
            name, version = _identity(distribution)
            candidates = [Candidate(name, name, version, partial(_refuse, describe(error)))]
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key not in seen:  # of two installations, Python imports the one that comes first
            found += candidates
        if name != UNNAMED:
            seen.add(key)
    return sorted(found, key=_order)


def _order(candidate: Candidate) -> tuple[bool, str, str]:
    distribution = candidate.distribution or ""
    return (distribution != OWN_DISTRIBUTION, candidate.name, distribution)


def _name_of(plugin: object) -> str:
    name = getattr(plugin, "__name__", None)
    return name if isinstance(name, str) else type(plugin).__name__


def _identity(distribution: Distribution) -> tuple[str, str]:
    try:
        return distribution.name or UNNAMED, distribution.version or "of unknown version"
    except Exception:  # a plugin whose metadata cannot be read may still work
        return UNNAMED, "of unknown version"


def _same(plugin: object) -> object:
    return plugin


def _refuse(problem: str) -> object:
    raise PluginFault(
        f"its entry_points.txt cannot be read: {problem}.",
        "Reinstall the distribution, or uninstall it if it is not needed.",
    )


def _import(point: EntryPoint, distribution: str) -> object:
    # Not `point.load()`, which does not tell a wrong name from a module that breaks, and fails in
    # ways of its own where the value has no meaning.
    name, _, attribute = (part.strip() for part in point.value.partition("[")[0].partition(":"))
    fix = (
        f'Run `python -c "import {name}"` to see where it breaks; then correct, upgrade or '
        f"reinstall {distribution}, or disable the plugin."
    )
    with guard(f"importing {point.value}", fix):
        module = import_module(name)
        try:
            return reduce(getattr, filter(None, attribute.split(".")), module)
        except AttributeError as error:
            raise PluginFault(
                f"its entry point is {point.value}, and {error}.",
                f"Correct what the entry point names, and reinstall {distribution}.",
            ) from error

"""Which hooks a plugin implements, checked before any of them is called."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from pluggy import HookImpl, PluginManager, PluginValidationError

from . import hookspecs
from .faults import PluginFault
from .hookspecs import PROJECT

Implementations = Mapping[str, tuple[HookImpl, ...]]
"""By hook name; a hook that the plugin does not implement is not in it."""

SIGNATURES: Final[Mapping[str, str]] = {
    name: f"{name}({', '.join(inspect.signature(spec).parameters)})"
    for name, spec in inspect.getmembers(hookspecs, inspect.isfunction)
    if hasattr(spec, f"{PROJECT}_spec")
}


def implementations(plugin: object) -> Implementations:
    """The plugin's hooks. Raises PluginFault for one that could never be called as meant."""
    # A manager of its own: what is wrong with this plugin can neither stop nor touch another.
    manager = PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin)
    except PluginValidationError as error:
        raise PluginFault(
            f"{' '.join(str(error).splitlines()[1:])}.",
            f"The hooks and their parameters: {'; '.join(SIGNATURES.values())}.",
        ) from error
    found: dict[str, tuple[HookImpl, ...]] = {}
    for caller in manager.get_hookcallers(plugin) or ():
        for hook in caller.get_hookimpls():
            if caller.name in SIGNATURES:
                _check_kind(caller.name, hook)
                found[caller.name] = (*found.get(caller.name, ()), hook)
            elif not hook.optionalhook:
                raise _unknown_hook(caller.name)
    _check_marked(plugin, found)
    return found


def call(hook: HookImpl, **values: object) -> object:
    """Call one implementation with those of the values that it takes."""
    return hook.function(*(values[name] for name in hook.argnames))


def _unknown_hook(name: str) -> PluginFault:
    near = get_close_matches(name, SIGNATURES, n=1)
    meant = f"Did you mean {SIGNATURES[near[0]]}? " if near else ""
    return PluginFault(
        f"{name}() is no hook of this server.",
        f"{meant}The hooks: {', '.join(SIGNATURES)}. Mark one that other releases of the server "
        "may not have with @hookimpl(optionalhook=True).",
    )


def _check_marked(plugin: object, found: Implementations) -> None:
    for name in SIGNATURES:
        if name not in found and callable(getattr(plugin, name, None)):
            raise PluginFault(
                f"{name}() is not marked as a hook, so it would never be called.",
                "Decorate it with @hookimpl (`from mission_system import hookimpl`).",
            )
    if not found:
        raise PluginFault(
            "it implements no hook.",
            "Let the entry point name the module or object that holds the functions marked with "
            f"@hookimpl. The hooks: {', '.join(SIGNATURES)}.",
        )


def _check_kind(name: str, hook: HookImpl) -> None:
    if hook.wrapper or hook.hookwrapper:
        raise PluginFault(
            f"{name}() is a hook wrapper; plugins do not wrap one another here.",
            "Remove `wrapper=True` and return what this plugin offers.",
        )
    is_async = inspect.iscoroutinefunction(hook.function)
    if is_async and name.startswith("register_"):
        raise PluginFault(
            f"{name}() is an async function.",
            f"Write `def {SIGNATURES[name]}`; what must be awaited belongs in runtime_started().",
        )
    if not is_async and name.startswith("runtime_"):
        raise PluginFault(
            f"{name}() is not an async function.", f"Write `async def {SIGNATURES[name]}`."
        )

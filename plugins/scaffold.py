"""Writes the first version of a capability: a project that installs, loads and tests itself."""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from string import Template

from ..core.errors import Conflict, InvalidInput
from ..core.events.types import NAMESPACES
from .contributions import COMMANDS_OF_SERVER
from .discovery import installed

TEMPLATES = Path(__file__).parent / "templates" / "capability"
SUFFIX = ".template"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 50


def write_capability(name: str, parent: Path) -> Path:
    """Write the project `name` into a new folder of that name in `parent`; that folder.

    Raises:
        InvalidInput: it cannot be the name of a distribution, a module and a capability, or what
            has that name here would keep the project from being loaded.
        Conflict: there is something in its place.
    """
    module = name.replace("-", "_")
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise InvalidInput(
            "name",
            f"'{ascii(name)[1:-1][:LONGEST]}' is no name for a capability; write lower-case letters"
            f" and digits with '-' between, such as acme-docs, at most {LONGEST} characters",
        )
    if owner := _owner(name, module):
        raise InvalidInput(
            "name", f"'{name}' is taken by {owner}; choose another one, such as acme-{name}"
        )
    target = parent / name
    if target.exists() or target.is_symlink():
        raise Conflict(f"{target} exists already; choose another name, or another folder with --in")
    values = {"name": name, "module": module, "title": name.replace("-", " ").capitalize()}
    for template in sorted(TEMPLATES.rglob(f"*{SUFFIX}")):
        place = str(template.relative_to(TEMPLATES)).removesuffix(SUFFIX)
        path = target / place.replace("MODULE", module)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(template.read_text("utf-8")).substitute(values), "utf-8")
    return target


def _owner(name: str, module: str) -> str | None:
    """Who has the name here; None when it is free, or of an earlier version of the project."""
    if iskeyword(module) or module in sys.stdlib_module_names:
        return "Python"
    if name.startswith("mission-system"):
        return "the server"
    if any(TEMPLATES.rglob(f"{module}.py{SUFFIX}")):
        return "a file of the project"
    if name in NAMESPACES:
        return f"the server, whose events are called {name}.*"
    if name in COMMANDS_OF_SERVER:
        return f"the command `mission {name}`"
    plugins = [plugin for plugin in installed() if plugin.name == name]
    for plugin in plugins:
        if plugin.distribution != name:
            return f"the plugin '{name}' of {plugin.distribution}"
    spec = find_spec(module)  # without an origin it is a mere folder
    if not plugins and ((spec and spec.origin) or any(distributions(name=name))):
        return "an installed package"
    return None

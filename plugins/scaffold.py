"""Writes the first version of a capability: a project that installs, loads and tests itself."""

from __future__ import annotations

import re
import sys
from keyword import iskeyword
from pathlib import Path
from string import Template

from ..core.errors import Conflict, InvalidInput

TEMPLATES = Path(__file__).parent / "templates" / "capability"
SUFFIX = ".template"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 50


def write_capability(name: str, parent: Path) -> Path:
    """Write the project `name` into a new folder of that name in `parent`; that folder.

    Raises:
        InvalidInput: it cannot be the name of a distribution, a module and a capability.
        Conflict: there is something in its place.
    """
    module = name.replace("-", "_")
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise InvalidInput(
            "name",
            f"'{ascii(name)[1:-1][:LONGEST]}' is no name for a capability; write lower-case letters"
            f" and digits with '-' between, such as acme-docs, at most {LONGEST} characters",
        )
    if iskeyword(module) or module in sys.stdlib_module_names or name.startswith("mission-system"):
        raise InvalidInput("name", f"'{name}' is taken by Python or the server; choose another one")
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

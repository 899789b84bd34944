"""Fetch the GraphiQL files that the server ships, with their licences (`make vendor-graphiql`).

To move to other versions change `PACKAGES`, run this, look at the page, and commit what changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

TARGET = Path(__file__).parent.parent / "schema" / "static" / "graphiql"
PACKAGES = {"graphiql": "3.8.3", "react": "18.3.1", "react-dom": "18.3.1"}
FILES = {
    "graphiql.min.js": "graphiql",
    "graphiql.min.css": "graphiql",
    "umd/react.production.min.js": "react",
    "umd/react-dom.production.min.js": "react-dom",
}
BUNDLED_NAME = re.compile(r"node_modules/((?:@[\w-]+/)?[\w.-]+)/")
LICENSE_NAME = re.compile(r"(licen[cs]e|copying)\b.*", re.IGNORECASE)

VENDORED = """\
# Vendored files

These files are taken unchanged from npm packages, so that the GraphQL page works without a network.
All else in this folder is our own. The licences, those of the packages inside
`graphiql.min.js` included, are in `LICENSES.txt`. GraphiQL 3 is the last line with a build for
plain script tags; that build contains the `graphql-ws` client.

| file | package | version | path in the package | sha256 |
| --- | --- | --- | --- | --- |
{rows}

To refresh: set the versions in `scripts/vendor_graphiql.py`, run `make vendor-graphiql` (it needs
npm), open `/graphql` in a browser, commit. A test compares the files with the table.
"""


def install(folder: Path, *specs: str) -> None:
    subprocess.run(
        ["npm", "install", "--ignore-scripts", "--no-fund", "--no-audit", *specs],
        cwd=folder,
        check=True,
        timeout=600,
    )


def bundled(modules: Path) -> list[str]:
    """The packages whose code is inside the bundle: it names the file each piece came from."""
    text = (modules / "graphiql" / "graphiql.min.js").read_text("utf-8")
    return sorted(set(BUNDLED_NAME.findall(text)) | PACKAGES.keys())


def licences(modules: Path, names: list[str]) -> str:
    """Each licence text once, under the names of the packages that carry it."""
    holders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        about = json.loads((modules / name / "package.json").read_text("utf-8"))
        found = sorted(
            path for path in (modules / name).iterdir() if LICENSE_NAME.fullmatch(path.name)
        )
        text = (
            found[0].read_text("utf-8").strip().replace("\r\n", "\n")
            if found
            else f"{about['license']} (the package holds no licence text of its own)"
        )
        holders[text].append(name)
    return "\n".join(
        f"{'=' * 80}\n{', '.join(names)}\n{'=' * 80}\n\n{text}\n"
        for text, names in sorted(holders.items(), key=lambda item: item[1])
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        modules = folder / "node_modules"
        install(folder, *(f"{name}@{version}" for name, version in PACKAGES.items()))
        names = bundled(modules)
        # What only the bundle was built with is no dependency: it is installed for its licence.
        if absent := [name for name in names if not (modules / name).is_dir()]:
            install(folder, *absent)
        rows: list[str] = []
        for path, package in FILES.items():
            source = modules / package / path
            shutil.copyfile(source, TARGET / source.name)
            digest = hashlib.sha256(source.read_bytes()).hexdigest()
            rows.append(
                f"| `{source.name}` | {package} | {PACKAGES[package]} | `{path}` | `{digest}` |"
            )
        (TARGET / "LICENSES.txt").write_text(licences(modules, names), "utf-8")
        (TARGET / "VENDORED.md").write_text(VENDORED.format(rows="\n".join(rows)), "utf-8")


if __name__ == "__main__":
    main()

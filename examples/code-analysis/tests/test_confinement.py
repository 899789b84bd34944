"""Nothing outside the root is read, listed or searched, whatever leads there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from mission_code_analysis import CodeAnalysisConfig
from mission_code_analysis.source.files import list_files, read_file
from mission_code_analysis.source.history import git_log
from mission_code_analysis.source.search import search_code
from mission_code_analysis.source.symbols import find_symbol
from mission_code_analysis.source.tree import SourceTree

from mission_system import InvalidInput, MissionError, NotFound

from .conftest import MakeTree

IGNORED = (".git", ".venv", "node_modules", "__pycache__")
OUTSIDE = (
    "..",
    "../secret.txt",
    "src/../../secret.txt",
    "src/../../root/../secret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "/proc/self/environ",
    "/",
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_path_leads_out(make_tree: MakeTree, path: str) -> None:
    tree = make_tree({"src/a.py": "x = 1\n"})
    with pytest.raises(InvalidInput, match="leads out of the source tree"):
        read_file(tree, path, 1, 10)
    with pytest.raises(InvalidInput, match="leads out"):
        list_files(tree, path, "", 10)
    with pytest.raises(InvalidInput, match="leads out"):
        search_code(tree, "secret", path, False, False, "path", 10)
    with pytest.raises(InvalidInput, match="leads out"):
        find_symbol(tree, "secret", path, "", 10)
    with pytest.raises(InvalidInput, match="leads out"):
        git_log(tree, path, 10)


def test_no_symlink_leads_out(make_tree: MakeTree, tmp_path: Path) -> None:
    tree = make_tree({"a.py": "x = 1\n"})
    (tree.root / "file.txt").symlink_to(tmp_path / "secret.txt")
    (tree.root / "folder").symlink_to(tmp_path)
    (tree.root / "chain").symlink_to(tree.root / "file.txt")
    for path in ("file.txt", "chain", "folder/secret.txt", "folder/root/../secret.txt"):
        with pytest.raises(InvalidInput, match="leads out"):
            read_file(tree, path, 1, 10)
    assert list_files(tree, "", "", 10).paths == ("a.py",)
    assert search_code(tree, "secret", "", False, False, "path", 10).total == 0


def test_a_symlink_inside_the_tree_can_be_read_and_is_listed_once(make_tree: MakeTree) -> None:
    tree = make_tree({"src/a.py": "x = 1\n"})
    (tree.root / "link").symlink_to("src")
    (tree.root / "loop").symlink_to("loop")
    (tree.root / "src/up").symlink_to("..")
    assert read_file(tree, "link/a.py", 1, 10).path == "src/a.py"
    assert list_files(tree, "", "", 10).paths == ("src/a.py",)
    with pytest.raises(NotFound):
        read_file(tree, "loop", 1, 10)


@pytest.mark.parametrize("folder", IGNORED)
def test_ignored_folders_are_closed_by_every_way(make_tree: MakeTree, folder: str) -> None:
    tree = make_tree({f"{folder}/config": "hidden\n", f"src/{folder}/config": "hidden\n"})
    (tree.root / "open").symlink_to(folder)
    for path in (f"{folder}/config", f"src/{folder}/config", "open/config", f"src/../{folder}"):
        with pytest.raises(InvalidInput, match="ignored"):
            read_file(tree, path, 1, 10)
    assert list_files(tree, "", "", 10).total == 0
    assert search_code(tree, "hidden", "", False, False, "path", 10).total == 0


@pytest.mark.parametrize(
    "name",
    [
        *(".env", ".env.production", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass"),
        *(".htpasswd", ".git-credentials", ".kube", ".docker", ".ssh", ".aws", ".gnupg"),
        *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa.old", "server.pem", "a.key"),
        *("a.jks", "a.pfx", "a.p12", "live.tfstate", "live.tfstate.backup", ".GIT", ".Env"),
    ],
)
def test_secrets_are_ignored_in_any_case(make_tree: MakeTree, name: str) -> None:
    tree = make_tree({name: "token\n"})
    with pytest.raises(InvalidInput, match="ignored"):
        read_file(tree, name, 1, 10)
    assert list_files(tree, "", "", 10).total == 0


def test_what_is_ignored_can_be_set(make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "", "b.gen.py": "", "old/c.py": ""}, ignored=("*.gen.py", "old"))
    assert list_files(tree, "", "", 10).paths == ("a.py",)
    assert list_files(make_tree({}, ignored=()), "", "", 10).total == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no such names on Windows")
def test_names_that_no_citation_can_hold_are_left_out(make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "x\n"})
    for name in (b"two\nlines.py", b"latin-\xe9.py", b"bell\x07.py"):
        Path(os.fsdecode(os.fsencode(tree.root) + b"/" + name)).write_text("x\n")
    assert list_files(tree, "", "", 10).paths == ("a.py",)
    assert search_code(tree, "x", "", False, False, "path", 10).total == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_does_not_hang(make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "x\n"})
    os.mkfifo(tree.root / "pipe.py")
    with pytest.raises(InvalidInput, match="not a regular file"):
        read_file(tree, "pipe.py", 1, 10)
    assert list_files(tree, "", "", 10).paths == ("a.py",)
    assert search_code(tree, "x", "", False, False, "path", 10).total == 1


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "x/" * 3000, "missing.py", "a.py/b", "\ud800"])
def test_a_path_that_cannot_be_is_an_error_a_client_understands(
    make_tree: MakeTree, path: str
) -> None:
    with pytest.raises(MissionError):
        read_file(make_tree({"a.py": "x\n"}), path, 1, 10)


def test_an_absolute_path_inside_the_root_is_the_same_file(make_tree: MakeTree) -> None:
    tree = make_tree({"src/a.py": "x\n"})
    assert read_file(tree, str(tree.root / "src/a.py"), 1, 10).path == "src/a.py"


def test_a_root_that_is_a_symlink_is_followed_once(make_tree: MakeTree, tmp_path: Path) -> None:
    make_tree({"a.py": "x\n"})
    (tmp_path / "alias").symlink_to(tmp_path / "root")
    tree = SourceTree(CodeAnalysisConfig(root=tmp_path / "alias"))
    assert read_file(tree, "a.py", 1, 10).lines == ("x",)

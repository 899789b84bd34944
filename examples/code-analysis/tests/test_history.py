"""History: what git says, or a plain reason why it says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mission_code_analysis.source.history import git_log

from .conftest import Git, MakeTree, require_git


def commit(git: Git, root: Path, subject: str) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", subject)


def test_commits_come_newest_first_and_follow_renames(git: Git, make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "x = 1\n" * 20, "b.py": "y\n"})
    git(tree.root, "init", "-q")
    commit(git, tree.root, "First: with a colon, 'quotes' and ünïcode")
    (tree.root / "a.py").rename(tree.root / "c.py")
    commit(git, tree.root, "Rename")
    log = git_log(tree, "c.py", 10)
    assert [each.subject for each in log.commits] == [
        "Rename",
        "First: with a colon, 'quotes' and ünïcode",
    ]
    assert log.commits[0].author == "Ann Ångström"
    assert len(log.commits[0].date) == len("2026-01-31")
    assert [each.subject for each in git_log(tree, "b.py", 10).commits] == [
        "First: with a colon, 'quotes' and ünïcode"
    ]
    assert len(git_log(tree, "", 10).commits) == 2


def test_a_deleted_file_has_a_history_too(git: Git, make_tree: MakeTree) -> None:
    tree = make_tree({"a.py": "x\n", "b.py": "y\n"})
    git(tree.root, "init", "-q")
    commit(git, tree.root, "Add")
    (tree.root / "a.py").unlink()
    commit(git, tree.root, "Remove")
    assert [each.subject for each in git_log(tree, "a.py", 10).commits] == ["Remove", "Add"]


def test_a_long_history_is_cut_and_says_so(git: Git, make_tree: MakeTree) -> None:
    tree = make_tree({})
    git(tree.root, "init", "-q")
    for number in range(4):
        (tree.root / "a.py").write_text(str(number))
        commit(git, tree.root, f"{number} {'x' * 500}")
    log = git_log(tree, "", 3)
    assert len(log.commits) == 3
    assert log.cut == "older commits than the newest 3 are left out"
    assert len(log.commits[0].subject) == 200


def test_only_the_root_s_part_of_a_larger_repository_is_told(
    git: Git, make_tree: MakeTree, tmp_path: Path
) -> None:
    tree = make_tree({"a.py": "x\n"})
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "root")
    git(tmp_path, "commit", "-q", "-m", "Inside")
    git(tmp_path, "add", "secret.txt")
    git(tmp_path, "commit", "-q", "-m", "Outside")
    assert [each.subject for each in git_log(tree, "", 10).commits] == ["Inside"]


@pytest.mark.parametrize(
    ("commands", "note"),
    [
        ([], "the source tree is not in a git repository"),
        ([["init", "-q"]], "the git repository has no commits yet"),
        (
            [["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]],
            "git has no commit that touches it",
        ),
    ],
)
def test_without_history_it_says_why(
    git: Git, make_tree: MakeTree, commands: list[list[str]], note: str
) -> None:
    tree = make_tree({"a.py": "x\n"})
    for arguments in commands:
        git(tree.root, *arguments)
    log = git_log(tree, "a.py", 10)
    assert (log.commits, log.note) == ((), note)


def test_without_git_it_says_so(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree({"a.py": "x\n"})
    monkeypatch.setenv("PATH", str(tree.root))
    assert git_log(tree, "a.py", 10).note == "git is not installed on the server"


def test_a_git_that_hangs_is_stopped(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree({"git": "#!/bin/sh\nexec sleep 60\n"}, max_seconds=0.2)
    (tree.root / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tree.root}:/usr/bin:/bin")
    assert git_log(tree, "", 10).note == "git took more than 0.2 seconds"


GPG = """#!/bin/sh
case "$*" in
  *--verify*) touch "$SPRUNG" ;;
  *) cat >/dev/null; echo "[GNUPG:] SIG_CREATED " >&2; echo "-----BEGIN PGP SIGNATURE-----" ;;
esac
"""
TRAP = """#!/bin/sh
touch "$SPRUNG"
cat
"""


def test_the_repository_s_own_configuration_starts_no_program(
    git: Git, make_tree: MakeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree({"a.py": "x\n", ".gitattributes": "*.py diff=trap\n"})
    sprung = tmp_path / "sprung"
    monkeypatch.setenv("SPRUNG", str(sprung))
    for name, text in (("gpg.sh", GPG), ("trap.sh", TRAP)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    git(tree.root, "init", "-q")
    git(tree.root, "config", "gpg.program", str(tmp_path / "gpg.sh"))
    git(tree.root, "add", "-A")
    git(tree.root, "commit", "-q", "-S", "-m", "Signed")
    git(tree.root, "config", "log.showSignature", "true")
    for key in ("core.pager", "core.fsmonitor", "diff.external", "diff.trap.textconv"):
        git(tree.root, "config", key, str(tmp_path / "trap.sh"))
    git(tree.root, "log", "--max-count=1")
    assert sprung.exists(), "the trap itself must work"
    sprung.unlink()
    assert [each.subject for each in git_log(tree, "a.py", 10).commits] == ["Signed"]
    assert not sprung.exists()


@pytest.mark.parametrize(
    "path", ["--output=stolen.txt", "--all", "-p", ":(glob)**", ":!b.py", "*.py", ":/"]
)
def test_a_path_is_no_option_and_no_pattern(git: Git, make_tree: MakeTree, path: str) -> None:
    tree = make_tree({"a.py": "x\n"})
    git(tree.root, "init", "-q")
    commit(git, tree.root, "Add")
    assert git_log(tree, path, 10).commits == ()
    assert sorted(place.name for place in tree.root.iterdir()) == [".git", "a.py"]


def test_the_environment_does_not_point_git_elsewhere(
    git: Git, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    git(elsewhere, "init", "-q")
    git(elsewhere, "commit", "-q", "--allow-empty", "-m", "Elsewhere")
    tree = make_tree({"a.py": "x\n"})
    monkeypatch.setenv("GIT_DIR", str(elsewhere / ".git"))
    assert git_log(tree, "", 10).note == "the source tree is not in a git repository"


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip), ("true", pytest.fail)])
def test_a_test_without_git_is_skipped_by_name_and_fails_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ci: str, outcome: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome.Exception, match="not installed: git"):
        require_git()

"""Variables that nobody reads are found, with the one that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from mission_system.plugins.variables import unknown_variables


def test_a_misspelled_variable_is_found_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("MISSION_DATABASE_URI=postgres://secret\nOTHER=1\n")
    monkeypatch.setenv("MISSION_RUNING_SLOTS", "3")
    monkeypatch.setenv("mission_qouta__max_steps", "3")
    monkeypatch.setenv("MISSION_TYPO", "1")
    assert unknown_variables(()) == {
        "MISSION_RUNING_SLOTS": "MISSION_RUNNING_SLOTS",
        "MISSION_QOUTA__MAX_STEPS": "MISSION_QUOTA",
        "MISSION_TYPO": None,
        "MISSION_DATABASE_URI": "MISSION_DATABASE_URL",
    }


def test_variables_of_the_server_of_commands_and_of_plugins_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PORT", "QUOTA__MAX_STEPS", "LLM_ROLES", "TOKEN", "ACME_STARS_SHOP"):
        monkeypatch.setenv(f"MISSION_{name}", "1")
    assert unknown_variables(["acme-stars"]) == {}
    assert unknown_variables(["acme"]) == {}
    assert list(unknown_variables(["stars"])) == ["MISSION_ACME_STARS_SHOP"]

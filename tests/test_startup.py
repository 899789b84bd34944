"""Starting fast is kept by what is imported, which, unlike a time, is the same on every machine."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "aiosqlite",
    "anthropic",
    "httpx",
    "mission_system.schema",
    "openai",
    "pydantic_ai",
    "starlette",
    "strawberry",
    "tortoise",
    "uvicorn",
    "websockets",
    "xllamacpp",
}
MODELS = {"anthropic", "openai", "pydantic_ai", "xllamacpp"}
"""What only a call of a real model may load."""


def loaded_after(code: str) -> set[str]:
    """The modules in a fresh interpreter once `code` has run."""
    script = f"{code}\nimport json, sys\nprint('\\n' + json.dumps(list(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_but_itself() -> None:
    import mission_system as installed

    new = loaded_after("import mission_system") - loaded_after("import typing, importlib")
    assert new == {installed.__name__}


def test_help_loads_no_server_and_no_database() -> None:
    run_help = """
import contextlib
import sys

from mission_system.web.cli import main

sys.argv = ["mission", "--help"]
with contextlib.suppress(SystemExit):
    main()
"""
    loaded = loaded_after(run_help)
    assert "mission_system.web.cli" in loaded
    assert (HEAVY | {"pydantic"}) & loaded == set()


def test_settings_load_no_server_and_no_database() -> None:
    assert HEAVY & loaded_after("from mission_system import Settings; Settings()") == set()


def test_a_server_loads_no_library_of_models_before_one_is_asked() -> None:
    for provider in ("mock", "openai", "llamacpp"):
        loaded = loaded_after(
            "from mission_system import Settings, create_app\n"
            f"create_app(Settings(llm_provider={provider!r}))"
        )
        assert "mission_system.plugins.builtin.models" in loaded
        assert MODELS & loaded == set()

"""What every test gets: no surroundings that differ by machine, and named optional programs.

`MISSION_TEST_PROFILE=nightly` (`make nightly`) asks for long versions: more generated examples, and
True from the fixture `nightly`, by which a test chooses its size. `MISSION_TEST_DATABASE=postgres`
runs all of them on PostgreSQL; see `support/databases.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import stamina
from hypothesis import settings

pytest_plugins = ["postgresql", "databases"]  # in tests/support

PROFILE = os.environ.pop("MISSION_TEST_PROFILE", "default")

settings.register_profile("default", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=2000, deadline=None)
settings.load_profile(PROFILE)


class RequireProgram(Protocol):
    def __call__(self, *names: str, install: str) -> str: ...


@pytest.fixture(scope="session", autouse=True)
def own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No `MISSION_*` variable, `.env` or data folder of the person at the keyboard counts."""
    checkout = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MISSION_")]:
            patch.delenv(name)
        os.chdir(tmp_path_factory.mktemp("cwd"))
        yield
    os.chdir(checkout)


@pytest.fixture(scope="session", autouse=True)
def no_pauses() -> Iterator[None]:
    """Nobody waits before another try."""
    with stamina.set_testing(True, attempts=1000):
        yield


@pytest.fixture(scope="session")
def nightly() -> bool:
    """Whether to run at full length."""
    return PROFILE == "nightly"


@pytest.fixture(scope="session")
def require_program() -> RequireProgram:
    """Gives the path of the first of some programs that is installed.

    Without any, the test is skipped under the name of what is missing, or fails where `CI` is set:
    a skip that nobody reads must not pass for a test that ran.
    """

    def find(*names: str, install: str) -> str:
        for name in names:
            if path := shutil.which(name):
                return path
        reason = f"not installed: {' or '.join(names)}. To get it: {install}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    return find


@pytest.fixture(scope="session")
def chromium(require_program: RequireProgram) -> str:
    """The path of a Chromium, for Playwright's `executable_path`."""
    return require_program(
        "chromium", "chromium-browser", "google-chrome", install="apt install chromium"
    )

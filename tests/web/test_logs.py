"""Each in a process of its own: logging belongs to a whole process."""

import json
import subprocess
import sys
from typing import Any

PROGRAM = """
import logging, structlog
from mission_system.core.settings import Settings
from mission_system.web.logs import configure_logs

configure_logs(Settings({settings}))
with structlog.contextvars.bound_contextvars(http_request_id="r1"):
    structlog.get_logger("mission_system.x").info("something.happened", count=3)
    logging.getLogger("library").warning("said %s", "this")
    logging.getLogger("uvicorn.error").info("Started server process")
    structlog.get_logger("mission_system.x").debug("not worth it")
    logging.getLogger("anthropic._base_client").debug("a whole conversation")
    logging.getLogger("openai._base_client").debug("a whole conversation")
    password = "hunter" + str(2)
    try:
        1 / 0
    except ZeroDivisionError:
        structlog.get_logger("mission_system.x").exception("it.broke")
"""


def run(settings: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(settings=settings)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


def entries() -> list[dict[str, Any]]:
    return [json.loads(line) for line in run().splitlines()]


def test_outside_a_terminal_every_line_is_json_with_its_request() -> None:
    ours, library, broke = entries()
    assert ours["event"] == "something.happened"
    assert ours["count"] == 3
    assert (library["event"], library["logger"]) == ("said this", "library")
    assert "ZeroDivisionError" in broke["exception"]
    for entry in (ours, library, broke):
        assert entry["http_request_id"] == "r1"
        assert {"level", "timestamp", "logger"} <= entry.keys()


def test_the_console_form_can_be_asked_for() -> None:
    text = run('log_format="console"')
    assert "something.happened" in text
    assert "{" not in text.splitlines()[0]


def test_vendors_of_models_write_no_conversation_at_any_level() -> None:
    assert "conversation" not in run('log_level="debug"')


def test_the_level_is_a_setting() -> None:
    assert "something.happened" not in run('log_level="warning"')
    assert "not worth it" in run('log_level="debug"')


def test_a_traceback_shows_no_local_variables_on_a_console_either() -> None:
    said = run('log_format="console"')
    assert "ZeroDivisionError" in said
    assert "hunter2" not in said

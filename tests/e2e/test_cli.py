"""The commands, as a person or a script uses them."""

from __future__ import annotations

import json
import re
import signal
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mission_system.core.storage.lease import Lease

if TYPE_CHECKING:
    from .conftest import Cli


# asking


def test_the_reply_alone_goes_to_standard_output(shared: Cli) -> None:
    done = shared.run("ask", "hello")
    assert (done.returncode, done.stdout) == (0, "You said: hello\n")
    assert "- answer" in done.stderr


def test_a_session_can_be_gone_on_with(shared: Cli) -> None:
    first = shared.run("ask", "one")
    found = re.search(r"session (\S+),", first.stderr)
    assert found
    second = shared.run("ask", "two", "--session", found[1])
    assert second.returncode == 0
    assert f"session {found[1]}," in second.stderr


def test_another_users_session_does_not_exist(shared: Cli) -> None:
    found = re.search(r"session (\S+),", shared.run("ask", "one").stderr)
    assert found
    done = shared.run("ask", "two", "--session", found[1], "--user", "eve")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not found" in done.stderr


def test_a_reply_is_streamed_to_a_terminal_once(shared: Cli) -> None:
    with shared.at_terminal("ask", "tell me", "--capability", "write") as terminal:
        code, seen = terminal.end()
    assert code == 0
    piped = shared.run("ask", "tell me", "--capability", "write")
    assert piped.stdout.strip()
    assert seen.replace("\r\n", "\n").count(piped.stdout.strip()) == 1


def test_a_failure_exits_with_1_and_shows_nothing_of_the_inside(shared: Cli) -> None:
    done = shared.run("ask", "x", "--capability", "crash")
    assert (done.returncode, done.stdout) == (1, "")
    assert "failed" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_capability_is_refused_with_the_choices(shared: Cli) -> None:
    done = shared.run("ask", "x", "--capability", "nope")
    assert done.returncode == 2
    assert "assistant" in done.stderr


def test_a_reply_cannot_command_the_terminal(shared: Cli) -> None:
    done = shared.run("ask", "x", "--capability", "escape")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout


def test_without_a_server_it_says_how_to_start_one(cli: Cli) -> None:
    done = cli.run("ask", "hello")
    assert done.returncode == 2
    assert done.stderr.startswith("mission: no server runs on the data folder")
    assert "mission serve" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", ["/nope", "/graphql"])
def test_an_address_with_a_path_where_no_server_is_says_what_is_wrong(
    shared: Cli, path: str
) -> None:
    holder = Lease.read(shared.data)
    assert holder is not None
    done = shared.run("questions", "--url", f"{holder.url}{path}")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{holder.url}{path} is not where a server is" in done.stderr
    assert "has no path, such as http://127.0.0.1:8000" in done.stderr


# questions


def test_a_clarification_is_asked_at_the_terminal(shared: Cli) -> None:
    with shared.at_terminal("ask", "help", "--capability", "guess") as terminal:
        shown = terminal.read_until("answer (a number or a text): ")
        assert "Which topic?" in shown
        assert "1. billing" in shown
        assert "2. setup" in shown
        terminal.type("2\n")
        code, rest = terminal.end()
    assert code == 0
    assert "About setup." in rest


def test_a_clarification_takes_any_text(shared: Cli) -> None:
    with shared.at_terminal("ask", "help", "--capability", "guess") as terminal:
        terminal.read_until("answer (a number or a text): ")
        terminal.type("\n")
        terminal.read_until("answer (a number or a text): ")
        terminal.type("the weather\n")
        code, rest = terminal.end()
    assert code == 0
    assert "About the weather." in rest


@pytest.mark.parametrize(("typed", "reply"), [("y", "Erased."), ("No", "Kept.")])
def test_a_confirmation_is_asked_until_it_is_yes_or_no(shared: Cli, typed: str, reply: str) -> None:
    with shared.at_terminal("ask", "go", "--capability", "erase") as terminal:
        assert "Erase everything?" in terminal.read_until("[y/n]: ")
        terminal.type("maybe\n")
        terminal.read_until("[y/n]: ")
        terminal.type(f"{typed}\n")
        code, rest = terminal.end()
    assert code == 0
    assert reply in rest


def test_a_question_without_a_terminal_is_left_open_and_answered_later(shared: Cli) -> None:
    asked = shared.run("ask", "help", "--capability", "guess")
    assert asked.returncode == 3
    assert "Which topic?" in asked.stderr
    assert "1. billing" in asked.stderr
    found = re.search(r"mission answer (\S+)", asked.stderr)
    assert found
    answered = shared.run("answer", found[1], "billing")
    assert (answered.returncode, answered.stdout) == (0, "About billing.\n")
    again = shared.run("answer", found[1], "setup")
    assert again.returncode == 2
    assert "answered before" in again.stderr


def test_a_confirmation_is_declined_later(shared: Cli) -> None:
    found = re.search(
        r"mission answer (\S+)", shared.run("ask", "go", "--capability", "erase").stderr
    )
    assert found
    unclear = shared.run("answer", found[1], "perhaps")
    assert unclear.returncode == 2
    assert "say yes or no" in unclear.stderr
    assert shared.run("answer", found[1], "n").stdout == "Kept.\n"


def test_the_question_of_a_child_is_asked_too(shared: Cli) -> None:
    with shared.at_terminal("ask", "help", "--capability", "boss") as terminal:
        assert "Which topic?" in terminal.read_until("answer (a number or a text): ")
        terminal.type("1\n")
        code, rest = terminal.end()
    assert code == 0
    assert "About billing." in rest


def test_the_question_of_a_child_is_answered_later(shared: Cli) -> None:
    done = shared.run("ask", "help", "--capability", "boss")
    assert done.returncode == 3
    found = re.search(r"mission answer (\S+)", done.stderr)
    assert found
    later = shared.run("answer", found[1], "setup")
    assert (later.returncode, later.stdout) == (0, "About setup.\n")


def test_open_questions_are_listed_until_they_are_answered(shared: Cli) -> None:
    as_zoe = ("--user", "zoe")
    assert "no question waits" in shared.run("questions", *as_zoe).stderr
    asked = shared.run("ask", "go", "--capability", "erase", *as_zoe)
    found = re.search(r"mission answer (\S+)", asked.stderr)
    assert found
    listed = shared.run("questions", *as_zoe)
    assert (listed.returncode, listed.stdout.splitlines()) == (
        0,
        [f"{found[1]} (confirmation)", "? Erase everything?", "  1. yes", "  2. no"],
    )
    assert "--user zoe" in listed.stderr
    assert shared.run("answer", found[1], "n", *as_zoe).returncode == 0
    assert shared.run("questions", *as_zoe).stdout == ""


def test_the_end_of_input_leaves_the_question_open(shared: Cli) -> None:
    with shared.at_terminal("ask", "help", "--capability", "guess") as terminal:
        terminal.read_until("answer (a number or a text): ")
        terminal.type("\x04")
        code, rest = terminal.end()
    assert code == 3
    assert "mission answer" in rest


def test_a_question_is_answered_later_by_its_global_id(shared: Cli) -> None:
    asked = shared.run("ask", "go", "--capability", "erase", "--user", "eve")
    found = re.search(r"mission answer (\S+) .*--user eve", asked.stderr)
    assert found
    assert asked.returncode == 3
    id = b64encode(f"Interrupt:{found[1]}".encode()).decode()
    assert shared.run("answer", id, "yes").returncode == 2  # not theirs to answer
    assert shared.run("answer", id, "yes", "--user", "eve").stdout == "Erased.\n"


def test_text_that_the_output_cannot_carry_is_replaced(shared: Cli) -> None:
    done = shared.run("ask", "caf\u00e9", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "You said: caf?\n")


@pytest.mark.parametrize("user", ["a\nb", "a\udcff"])
def test_a_user_that_no_header_carries_is_refused_in_one_line(shared: Cli, user: str) -> None:
    done = shared.run("ask", "x", "--user", user)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("mission: --user: ")


# stopping


def test_ctrl_c_cancels_the_request_on_the_server(shared: Cli) -> None:
    with shared.at_terminal("ask", "x", "--capability", "hang") as terminal:
        pid = terminal.process_at("- hang")
        terminal.process.send_signal(signal.SIGINT)
        code, rest = terminal.end()
    assert code == 130
    assert "cancelled" in rest
    assert "Traceback" not in rest
    assert shared.process(pid)["outcome"] == "CANCELLED"


def test_ctrl_c_at_a_question_cancels_too(shared: Cli) -> None:
    with shared.at_terminal("ask", "help", "--capability", "guess") as terminal:
        pid = terminal.process_at("answer (a number or a text): ")
        terminal.process.send_signal(signal.SIGINT)
        code, _ = terminal.end()
    assert code == 130
    assert shared.process(pid)["outcome"] == "CANCELLED"


# plugins and demo


def test_a_broken_plugin_is_listed_and_stops_neither_the_list_nor_the_server(cli: Cli) -> None:
    cli.install("acme_broken", "raise RuntimeError('no licence')")
    listed = cli.run("plugins", "list")
    assert listed.returncode == 0
    assert "acme_broken" in listed.stdout
    assert "no licence" in listed.stdout
    as_json = json.loads(cli.run("plugins", "list", "--json").stdout)
    reports = {report["name"]: report for report in as_json}
    assert reports["acme_trials"]["status"] == "loaded"
    assert "guess" in reports["acme_trials"]["orchestrators"]
    broken = reports["acme_broken"]
    assert (broken["status"], broken["version"]) == ("failed", "1.0")
    assert broken["fix"]
    with cli.server():
        assert cli.run("ask", "hello").stdout == "You said: hello\n"


ANALYSIS = """
from mission_system import OrchestratorSpec, hookimpl

async def analyse(mission):
    return f"{mission.capability}: {mission.message}"

@hookimpl
def register_orchestrators(context):
    return [OrchestratorSpec("code-analysis", analyse)]
"""


def test_the_demo_asks_about_the_code(cli: Cli) -> None:
    cli.environment = {"MISSION_DISABLED_PLUGINS": "code-analysis"}
    cli.install("acme_analysis", ANALYSIS)
    done = cli.run("demo", "--once", "--port", "0")
    assert done.returncode == 0
    assert done.stdout == "code-analysis: Where is ControlTower defined and who uses it?\n"
    assert "pip install" not in done.stderr


def test_the_demo_without_code_analysis_says_how_to_get_it(cli: Cli) -> None:
    cli.environment = {"MISSION_DISABLED_PLUGINS": "code-analysis"}
    done = cli.run("demo", "--once", "--port", "0", "--question", "hello")
    assert done.returncode == 0
    assert "You said: hello" in done.stdout
    assert "pip install mission-code-analysis" in done.stderr
    assert re.search(r"GraphiQL +http://127.0.0.1:\d+/graphql", done.stderr)
    assert Lease.read(cli.data) is None


def test_the_demo_stays_up_until_ctrl_c(cli: Cli) -> None:
    with cli.at_terminal("demo", "--port", "0") as terminal:
        terminal.read_until("Ctrl-C stops it.")
        assert cli.run("ask", "hello").stdout == "You said: hello\n"
        terminal.process.send_signal(signal.SIGINT)
        code, rest = terminal.end()
    assert code == 0
    assert "Traceback" not in rest


# tokens


def test_tokens_are_made_beside_a_running_server_listed_and_revoked(cli: Cli) -> None:
    cli.environment = {"MISSION_AUTH": "tokens"}
    with cli.server():
        stranger = cli.run("ask", "hello")
        assert (stranger.returncode, stranger.stdout) == (2, "")
        assert "mission token create" in stranger.stderr
        secret = cli.run(
            "token", "create", "ann", "--label", "laptop", "--days", "3"
        ).stdout.strip()
        assert cli.run("ask", "hello", MISSION_TOKEN=secret).stdout == "You said: hello\n"
        [listed] = cli.run("token", "list").stdout.splitlines()
        assert "ann" in listed
        assert "laptop" in listed
        assert secret not in listed
        assert cli.run("token", "revoke", listed.split()[0]).returncode == 0
        again = cli.run("token", "revoke", listed.split()[0])
        assert (again.returncode, "revoked before" in again.stderr) == (2, True)
    with cli.server():
        assert cli.run("ask", "hello", MISSION_TOKEN=secret).returncode == 2


def test_a_first_token_needs_no_server(cli: Cli) -> None:
    secret = cli.run("token", "create", "root", "--role", "admin").stdout.strip()
    cli.environment = {"MISSION_AUTH": "tokens", "MISSION_TOKEN": secret}
    with cli.server():
        assert cli.run("ask", "hello").returncode == 0


def test_where_there_are_no_tokens_it_says_so(cli: Cli) -> None:
    with cli.server():
        none = cli.run("token", "list")
    assert (none.returncode, none.stdout) == (0, "")
    assert "there are no tokens" in none.stderr


@pytest.mark.sqlite
@pytest.mark.parametrize("command", [("list",), ("revoke", "x")])
def test_tokens_of_a_place_where_nothing_is_are_not_looked_for_by_making_it(
    cli: Cli, command: tuple[str, ...]
) -> None:
    for empty in (False, True):
        if empty:
            cli.data.mkdir()
        none = cli.run("token", *command)
        assert (none.returncode, none.stdout) == (2, "")
        assert none.stderr.startswith("mission: nothing of this version is stored in ")
        assert "--data" in none.stderr
    assert list(cli.data.iterdir()) == []


# clean-up


@pytest.mark.sqlite
def test_clean_up_makes_nothing_where_nothing_is(cli: Cli) -> None:
    for empty in (False, True):
        if empty:
            cli.data.mkdir()
        none = cli.run("cleanup")
        assert (none.returncode, none.stdout) == (2, "")
        assert none.stderr.startswith("mission: nothing of this version is stored in ")
    assert list(cli.data.iterdir()) == []


def test_clean_up_works_through_a_server_and_without_one(cli: Cli) -> None:
    with cli.server():
        assert cli.run("ask", "one").returncode == 0
        kept = cli.run("cleanup")
        assert (kept.returncode, kept.stdout) == (0, "removed 0 processes, 0 steps, 0 events\n")
        assert cli.run("ask", "two").returncode == 0
        gone = cli.run("cleanup", "--days", "0")
        assert gone.stdout.startswith("removed 2 processes, ")
        assert cli.run("ask", "three").returncode == 0
    gone = cli.run("cleanup", "--keep", "0")
    assert (gone.returncode, gone.stdout[:20]) == (0, "removed 1 processes,")
    bad = cli.run("cleanup", "--days", "100000")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "days: is 100000" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_the_schema_is_written_as_the_repository_has_it(shared: Cli) -> None:
    root = Path(__file__).parents[2]
    assert shared.run("schema", "export").stdout == (root / "schema.graphql").read_text("utf-8")
    assert shared.run("openapi", "export").stdout == (root / "openapi.json").read_text("utf-8")


def test_what_breaks_clients_of_an_earlier_schema_is_told(shared: Cli, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.graphql"
    schema = shared.run("schema", "export").stdout
    earlier.write_text(schema)
    same = shared.run("schema", "diff", str(earlier))
    assert (same.returncode, same.stdout) == (0, "Nothing breaks.\n")
    earlier.write_text(schema + "\nextend type Session { colour: String }\n")
    broken = shared.run("schema", "diff", str(earlier))
    assert (broken.returncode, broken.stdout) == (1, "Field Session.colour was removed.\n")
    earlier.write_text("# no schema")
    refused = shared.run("schema", "diff", str(earlier))
    assert refused.returncode == 2
    assert "is no GraphQL schema" in refused.stderr

from pathlib import Path

import pytest

from mission_system.web.cli.settings import BadSettings, checked_url, checked_user, settings_from


def test_an_option_that_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_PORT", "1")
    monkeypatch.setenv("MISSION_HOST", "localhost")
    settings = settings_from(port=2, host=None)
    assert (settings.port, settings.host) == (2, "localhost")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MISSION_PORT", "abc"),
        ("MISSION_LOG_LEVEL", "loud"),
        ("MISSION_QUOTA__MAX_LLM_CALLS", "-1"),
        ("MISSION_RUNNING_SLOTS", "0"),
    ],
)
def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings, match=f"^{name}: ") as error:
        settings_from()
    assert "\n" not in error.value.message


def test_a_bad_option_is_named_as_an_option() -> None:
    with pytest.raises(BadSettings, match=r"^--port: "):
        settings_from(port=-1)


def test_an_unreadable_env_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_bytes(b"MISSION_HOST=\xff\xfe")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSettings, match=r"\.env"):
        settings_from()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://a.example/", "http://[::1]:1"])
def test_addresses_of_servers_are_taken(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://a", "http://", "http://[a", "http://a:x"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadSettings, match=r"^--url: "):
        checked_url(url)


def test_brackets_around_a_list_of_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_ALLOWED_HOSTS", '["a.example", "b.example"]')
    with pytest.raises(BadSettings) as error:
        settings_from()
    assert error.value.message == (
        "MISSION_ALLOWED_HOSTS: separate names with commas, without brackets"
    )


def test_a_quota_that_is_no_json_says_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_QUOTA", "max_llm_calls=5")
    with pytest.raises(BadSettings, match=r"^MISSION_QUOTA: is not a JSON object"):
        settings_from()


@pytest.mark.parametrize("user", ["eve", "Zoë 用", "x" * 255])
def test_names_of_users_are_taken(user: str) -> None:
    assert checked_user(user) == user


@pytest.mark.parametrize(
    "user", ["", "x" * 256, "a\nb", "a\r\nX-Other: 1", "\u2028", "\0", "\udcff"]
)
def test_a_user_that_no_header_can_carry_is_refused(user: str) -> None:
    with pytest.raises(BadSettings, match=r"^--user: ") as error:
        checked_user(user)
    assert len(error.value.message.splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("burn=deny", r"^MISSION_TOOL_POLICY: is not a JSON list; .*send_mail"),
        ('[{"tool": "burn", "decision": "no"}]', r"^MISSION_TOOL_POLICY__0__DECISION: "),
        ('[{"tol": "burn", "decision": "deny"}]', r"^MISSION_TOOL_POLICY__0__TOL: "),
        ('[{"decision": "deny"}, {"decision": "allow"}]', r"^MISSION_TOOL_POLICY: rules 0 and 1"),
    ],
)
def test_a_bad_rule_is_named(monkeypatch: pytest.MonkeyPatch, value: str, named: str) -> None:
    monkeypatch.setenv("MISSION_TOOL_POLICY", value)
    with pytest.raises(BadSettings, match=named):
        settings_from()

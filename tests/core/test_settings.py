"""Settings: from the environment, validated, named in the error."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mission_system.core.settings import Settings


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_ALLOWED_HOSTS", "a.example, b.example,")
    assert Settings().allowed_hosts == ("a.example", "b.example")
    assert Settings(allowed_hosts=("c.example",)).allowed_hosts == ("c.example",)


def test_quota_is_set_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_QUOTA__MAX_LLM_CALLS", "3")
    quota = Settings().quota
    assert (quota.max_llm_calls, quota.max_tool_calls) == (3, 50)


def test_variables_of_plugins_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_WEATHER_KEY", "abc")
    assert not hasattr(Settings(), "weather_key")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "70000"),
        ("RUNNING_SLOTS", "0"),
        ("LOG_LEVEL", "loud"),
        ("QUOTA__MAX_LLM_CALLS", "-1"),
        ("QUOTA__MAX_LLM_CALL", "1"),
        ("QUOTA__MAX_STEPS", "1000000001"),  # no `Int` of GraphQL any more, once extended
        ("QUOTA__TIMEOUT_SECONDS", "1e300"),
        ("ALLOWED_ORIGINS", "app.example.com"),
        ("ALLOWED_ORIGINS", "https://app.example.com/page"),
        ("ALLOWED_ORIGINS", "https://a.example, *"),
    ],
)
def test_bad_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"MISSION_{name}", value)
    with pytest.raises(ValidationError) as error:
        Settings()
    assert ".".join(str(part) for part in error.value.errors()[0]["loc"]) == name.lower().replace(
        "__", "."
    )


def test_origins_are_compared_as_browsers_send_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_ALLOWED_ORIGINS", "https://App.example.com/, http://b.example:81")
    assert Settings().allowed_origins == ("https://app.example.com", "http://b.example:81")

"""Prompts: versions, placeholders, and what the settings may put in their place."""

from __future__ import annotations

import pytest

from mission_system.core.errors import Forbidden
from mission_system.core.identity import Caller
from mission_system.core.prompts import MAX_TEXT, Prompt, PromptOverrides, Prompts
from mission_system.core.settings import Settings


def prompts(overrides: PromptOverrides | None = None) -> Prompts:
    registry = Prompts(overrides)
    registry.register(Prompt("writer", "Write of $topic."))
    registry.register(Prompt("writer", "Write of $topic for $reader.", version=2))
    return registry


def test_the_newest_version_is_chosen() -> None:
    assert prompts().choose("writer").version == 2


def test_values_are_put_in_as_they_are() -> None:
    prompt = Prompt("price", "${amount}$$ for ${thing}: {json} %s")
    filled = prompt.fill({"amount": "$thing", "thing": {"a": 1}, "unused": None})
    assert filled == "$thing$ for {'a': 1}: {json} %s"


def test_a_missing_value_is_named_with_the_call_that_lacks_it() -> None:
    with pytest.raises(TypeError, match=r"'writer' version 2 needs topic, reader: .*topic=\.\.\."):
        prompts().choose("writer").fill({"toppic": "tea"})


def test_an_unknown_name_tells_the_choices() -> None:
    with pytest.raises(KeyError, match="no prompt 'poet'; there are: writer"):
        prompts().choose("poet")
    with pytest.raises(KeyError, match="none is registered"):
        Prompts().choose("poet")


def test_a_version_is_registered_once() -> None:
    with pytest.raises(ValueError, match="prompt 'writer' version 2 is registered twice"):
        prompts().register(Prompt("writer", "Again.", version=2))


@pytest.mark.parametrize(
    ("text", "version", "problem"),
    [
        ("", 1, "1 to 100000 characters"),
        ("x" * (MAX_TEXT + 1), 1, "1 to 100000 characters"),
        ("5 $ a piece", 1, r"write \$\$ for a dollar sign"),
        ("Write.", 0, "version 0 is no integer from 1"),
    ],
)
def test_a_prompt_that_can_never_be_used_is_refused(text: str, version: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Prompt("writer", text, version=version)


def test_the_settings_pin_a_version_or_put_a_text_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MISSION_PROMPTS", '{"writer": 1}')
    pinned = prompts(Settings().prompts)
    assert (pinned.choose("writer").version, [*pinned.problems()]) == (1, [])
    monkeypatch.setenv("MISSION_PROMPTS", '{"writer": "Sing of $topic."}')
    sung = prompts(Settings().prompts).choose("writer")
    assert (sung.text, sung.version, sung.overridden) == ("Sing of $topic.", 2, True)
    monkeypatch.setenv("MISSION_PROMPTS", "{}")
    monkeypatch.setenv("MISSION_PROMPTS__WRITER", "1")
    assert prompts(Settings().prompts).choose("writer").version == 1


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"writer": 3}, "there is no version 3 of prompt 'writer'; there are: 1, 2"),
        ({"writer": "Of $tea."}, "nothing fills $tea of prompt 'writer'; its placeholders: topic"),
        ({"writer": "5 $"}, "prompt 'writer' version 2: a '$' begins a placeholder"),
        ({"poet": 1}, "there is no prompt 'poet'; there are: writer"),
    ],
)
def test_an_override_that_cannot_be_heeded_is_left_alone_and_told(
    overrides: dict[str, int | str], problem: str
) -> None:
    registry = prompts(overrides)
    assert registry.choose("writer") == prompts().choose("writer")
    [told] = registry.problems()
    assert told.startswith(problem)


def test_only_an_administrator_is_shown_the_prompts() -> None:
    prompts = Prompts({"poet": 1})
    for version in (1, 2):
        prompts.register(Prompt("poet", "Rhyme.", version=version))
    listed = prompts.listed(Caller("root", "admin"))
    assert [(prompt.version, is_used) for prompt, is_used in listed] == [(2, False), (1, True)]
    for role in ("user", "service"):
        with pytest.raises(Forbidden):
            prompts.listed(Caller("ann", role))

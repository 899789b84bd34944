"""Prompts: texts with placeholders, by name and version, that capabilities read where they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from string import Template
from typing import Annotated

from pydantic import BeforeValidator, Field

from .errors import Forbidden
from .identity import Caller

MAX_TEXT = 100_000  # characters


def _version(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


PromptOverrides = Mapping[
    str,
    Annotated[
        Annotated[int, Field(ge=1, le=2**31 - 1)] | Annotated[str, Field(min_length=1)],
        BeforeValidator(_version),
    ],
]
"""By name of a prompt: the version to use, or the text to use in place of the newest one's."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text with placeholders `$topic` or `${topic}`; `$$` stands for a dollar sign.

    `overridden`: the server's settings have put another text in place of this version's.

    Raises:
        ValueError: a version below 1, a text that is empty, too long, or has a stray `$`.
    """

    name: str
    text: str
    version: int = 1
    description: str = ""
    overridden: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.version, int) and self.version >= 1):
            raise ValueError(f"prompt '{self.name}': version {self.version!r} is no integer from 1")
        title = f"prompt '{self.name}' version {self.version}"
        if not (isinstance(self.text, str) and 1 <= len(self.text) <= MAX_TEXT):
            raise ValueError(f"{title}: a text has 1 to {MAX_TEXT} characters")
        if not Template(self.text).is_valid():
            raise ValueError(
                f"{title}: a '$' begins a placeholder, such as $topic; write $$ for a dollar sign"
            )

    @property
    def placeholders(self) -> tuple[str, ...]:
        """Their names, in the order in which they first occur."""
        return tuple(Template(self.text).get_identifiers())

    def fill(self, values: Mapping[str, object]) -> str:
        """The text with the values in their places; values that it has no place for are left out.

        Raises:
            TypeError: one is missing.
        """
        missing = [name for name in self.placeholders if name not in values]
        if missing:
            raise TypeError(
                f"prompt '{self.name}' version {self.version} needs {', '.join(missing)}: "
                f"mission.prompt('{self.name}', {missing[0]}=...)"
            )
        return Template(self.text).substitute(values)


class Prompts:
    """The prompts of one server. `problems` names the overrides that cannot be heeded."""

    def __init__(self, overrides: PromptOverrides | None = None) -> None:
        self._prompts: dict[str, dict[int, Prompt]] = {}
        self._overrides = dict(overrides or {})

    def register(self, prompt: Prompt) -> None:
        """Add a prompt. A version registered twice raises ValueError."""
        versions = self._prompts.setdefault(prompt.name, {})
        if prompt.version in versions:
            raise ValueError(
                f"prompt '{prompt.name}' version {prompt.version} is registered twice; choose"
                " another version"
            )
        versions[prompt.version] = prompt

    def choose(self, name: str) -> Prompt:
        """The newest version, or what the settings say instead.

        Raises:
            KeyError: there is none of this name; the text names the choices.
        """
        try:
            newest = self._newest(name)
        except KeyError:
            choices = ", ".join(sorted(self._prompts)) or "none is registered"
            raise KeyError(f"no prompt '{name}'; there are: {choices}") from None
        try:
            return self._overriding(newest)
        except ValueError:
            return newest

    def problems(self) -> Iterator[str]:
        """What is wrong with each override that is not heeded, in a sentence."""
        for name in self._overrides:
            if name not in self._prompts:
                choices = ", ".join(sorted(self._prompts)) or "none is registered"
                yield f"there is no prompt '{name}'; there are: {choices}"
                continue
            try:
                self._overriding(self._newest(name))
            except ValueError as error:
                yield str(error)

    def listed(self, caller: Caller) -> list[tuple[Prompt, bool]]:
        """All versions, as they are used, and of each whether it is the one that is used.

        Raises:
            Forbidden: no administrator asks.
        """
        if not caller.is_admin:
            raise Forbidden("only an admin may read the prompts")
        used = {name: self.choose(name) for name in self._prompts}
        return [
            (chosen, True) if chosen.version == prompt.version else (prompt, False)
            for prompt in self
            for chosen in (used[prompt.name],)
        ]

    def __iter__(self) -> Iterator[Prompt]:
        """All versions as they were registered, by name, the newest first."""
        for _, versions in sorted(self._prompts.items()):
            for version in sorted(versions, reverse=True):
                yield versions[version]

    def _newest(self, name: str) -> Prompt:
        versions = self._prompts[name]
        return versions[max(versions)]

    def _overriding(self, newest: Prompt) -> Prompt:
        """What is used in place of the newest version, or itself. Raises ValueError."""
        given = self._overrides.get(newest.name)
        if given is None:
            return newest
        versions = self._prompts[newest.name]
        if isinstance(given, int):
            if given not in versions:
                known = ", ".join(str(version) for version in sorted(versions))
                raise ValueError(
                    f"there is no version {given} of prompt '{newest.name}'; there are: {known}"
                )
            return versions[given]
        prompt = replace(newest, text=given, overridden=True)
        unknown = [name for name in prompt.placeholders if name not in newest.placeholders]
        if unknown:
            known = ", ".join(newest.placeholders) or "none"
            raise ValueError(
                f"nothing fills ${unknown[0]} of prompt '{newest.name}'; its placeholders: {known}"
            )
        return prompt

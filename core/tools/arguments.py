"""A tool's arguments, as its function's signature declares them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from ..errors import InvalidInput
from .spec import JsonObject

MAX_PROBLEM_TEXT = 200
"""Characters of a refusal: it may quote input, which may be long."""
_MAX_FIELD_TEXT = 60

_PLAIN = {
    "missing_keyword_only_argument": "is required",
    "unexpected_keyword_argument": "is not an argument of this tool",
}


def source_of(function: Callable[..., Any]) -> str:
    """Where a function was written, as `package.module.name`, for messages."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{function.__module__}.{name}"


class Arguments:
    """Validates what a function is called with, and describes it as JSON Schema.

    Raises:
        TypeError: the function has parameters that cannot be given by name, or types that cannot
            be validated.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        source = source_of(function)
        try:
            signature = inspect.signature(function, eval_str=True)
        except Exception as error:
            raise _unreadable(source, error) from error
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError(
                    f"{source}: '{parameter.name}' is positional-only, but tools are called by "
                    "argument name; remove the '/'"
                )
            if parameter.kind is parameter.VAR_POSITIONAL:
                raise TypeError(
                    f"{source}: '*{parameter.name}' has no names, but tools are called by "
                    f"argument name; take a list instead, such as `{parameter.name}: list[str]`"
                )
        self.signature = signature
        self._source = source
        try:
            self._adapter = _adapter(function.__module__, signature)
        except NameError as error:  # a name quoted inside an annotation
            raise _unreadable(source, error) from error
        except PydanticUserError as error:
            raise TypeError(
                f"{source}: an argument's type cannot be validated: {error.message}"
            ) from error

    def schema(self) -> JsonObject:
        """The JSON Schema (2020-12) of the arguments: an object that allows no others.

        Raises:
            TypeError: a type has no such schema.
        """
        try:
            return self._adapter.json_schema()
        except PydanticUserError as error:
            raise TypeError(
                f"{self._source}: an argument's type cannot be written as JSON Schema: "
                f"{error.message}"
            ) from error

    def parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every argument by name, converted to its declared type, defaults filled in.

        Raises:
            InvalidInput: names the first arguments that do not validate, in at most 200 characters.
        """
        try:
            parsed: dict[str, Any] = self._adapter.validate_python(dict(given))
        except ValidationError as error:
            raise _refusal(error) from None
        return parsed


def _adapter(module: str, signature: inspect.Signature) -> TypeAdapter[Any]:
    """Validates a call of `signature` without making it: pydantic validates a stand-in function
    that has the same parameters and only returns them."""

    def collect(**arguments: Any) -> dict[str, Any]:
        return arguments

    parameters = [
        parameter
        if parameter.kind is parameter.VAR_KEYWORD
        else parameter.replace(kind=parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
    ]
    vars(collect)["__signature__"] = inspect.Signature(parameters)
    collect.__annotations__ = {
        parameter.name: parameter.annotation
        for parameter in parameters
        if parameter.annotation is not parameter.empty
    }
    collect.__module__ = module  # where pydantic looks up names quoted inside annotations
    return TypeAdapter(cast(Any, collect))


def _unreadable(source: str, error: Exception) -> TypeError:
    return TypeError(
        f"{source}: its signature cannot be read: {error}; what annotations name must be defined "
        "at the top of the module, outside `if TYPE_CHECKING`"
    )


def _refusal(error: ValidationError) -> InvalidInput:
    fields: list[str] = []
    problems: list[str] = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(str(part) for part in detail["loc"]) or "arguments"
        fields.append(_cut(field, _MAX_FIELD_TEXT))
        problems.append(_PLAIN.get(detail["type"], detail["msg"]))
    rest = [f"{field}: {problem}" for field, problem in zip(fields[1:], problems[1:], strict=True)]
    text = "; ".join([problems[0], *rest])
    return InvalidInput(fields[0], _cut(text, MAX_PROBLEM_TEXT - len(fields[0]) - 2))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

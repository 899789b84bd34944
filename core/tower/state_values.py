"""Values of working memory as text, of the types that their capability declares."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WrapValidator,
)

from ..chat.text import checked
from ..errors import InvalidInput
from ..memory.working import MAX_KEY, MAX_VALUE
from .codec import ANY, NotEncodable, adapter_of, encode, is_finite, plain

_MODES: dict[str, Callable[[Any], Any]] = {
    "after": AfterValidator,
    "before": BeforeValidator,
    "plain": PlainValidator,
    "wrap": WrapValidator,
}


class StateValues:
    """The values that a capability declares by a model, or any JSON where it has none."""

    def __init__(self, model: type[BaseModel] | None) -> None:
        self._model = model

    def adapter(self, key: str) -> TypeAdapter[Any]:
        """Of the type of a key. Raises InvalidInput: too long, or no field of the model."""
        checked("key", key, longest=MAX_KEY)
        if self._model is None:
            return ANY
        adapter = _fields(self._model).get(key)
        if adapter is None:
            names = ", ".join(_fields(self._model))
            raise InvalidInput(
                f"state.{key}", f"'{self._model.__name__}' has no such field; it has: {names}"
            )
        return adapter

    def text(self, key: str, value: Any) -> str:
        """JSON of a value. Raises InvalidInput: `state.<key>`, or a place in it, is not valid."""
        adapter = self.adapter(key)
        try:
            kept = adapter.validate_python(value)
            text = encode(key, adapter, plain("it", kept) if self._model is None else kept)
            if not is_finite(adapter.dump_python(kept, warnings=False)):
                raise NotEncodable("it holds a number that is not finite: JSON has none such")
            adapter.validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in ("state", key, *problem["loc"]))
            raise InvalidInput(place, problem["msg"]) from None
        except NotEncodable as error:
            raise InvalidInput(f"state.{key}", error.message) from None
        if (size := len(text.encode())) > MAX_VALUE:
            raise InvalidInput(
                f"state.{key}", f"has {size} bytes of JSON, at most {MAX_VALUE} are kept"
            )
        return text


@lru_cache(maxsize=256)
def _fields(model: type[BaseModel]) -> dict[str, TypeAdapter[Any]]:
    adapters: dict[str, TypeAdapter[Any]] = {}
    for name, field in model.model_fields.items():
        declared: Any = field.annotation
        validators = _validators(model, name)
        adapters[name] = adapter_of(Annotated[declared, *field.metadata, *validators, None])
    return adapters


def _validators(model: type[BaseModel], field: str) -> list[Any]:
    """The `@field_validator`s of one field, which see nothing of the others."""
    declared = model.__pydantic_decorators__.field_validators.values()
    return [
        _MODES[each.info.mode](each.func)
        for each in declared
        if field in each.info.fields or "*" in each.info.fields
    ]


def decoded(key: str, adapter: TypeAdapter[Any], text: str) -> Any:
    """The value again. Raises NotEncodable: it is of the declared type no more."""
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise NotEncodable(
            f"what working memory holds as '{key}' is not of its declared type any more: {error}"
        ) from error

"""The API's description, made from what serves it: the table of operations and their models."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from ...core.version import __version__
from .endpoint import JSON, Operation
from .submission import KEY_HEADER
from .validation import Problem

Document = dict[str, Any]
Operations = Iterable[Operation]

_REF = "#/components/schemas/{model}"
_ERROR = {"$ref": "#/components/schemas/Error"}
_INVALID = {"$ref": "#/components/schemas/ValidationErrors"}
_PROBLEM: Problem = {
    "type": "object",
    "required": ["type", "loc", "msg", "input"],
    "properties": {
        "type": {"type": "string"},
        "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
        "msg": {"type": "string"},
        "input": {},
        "ctx": {"type": "object"},
    },
}
_ALWAYS = (403, 500, 503)
"""What any operation may answer, whatever it does."""
_WITH_TOKEN = (400, 401)
_WITH_BODY = (408, 413)
_HEADERS: dict[int, Document] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {
        "Retry-After": {
            "description": "Seconds after which there may be room.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}


def describe(operations: Operations) -> Document:
    """The OpenAPI 3.1 document."""
    operations = tuple(operations)
    adapters, schemas = _schemas(operations)
    paths: Document = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, adapters
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mission System",
            "version": __version__,
            "description": "For existing clients; GraphQL at `/graphql` can do all of this and"
            " more. Without authentication, whoever is named as `user_id` is believed.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas
            | {
                "Error": {
                    "type": "object",
                    "required": ["detail"],
                    "properties": {"detail": {"type": "string"}},
                },
                "ValidationErrors": {
                    "type": "object",
                    "required": ["detail"],
                    "properties": {"detail": {"type": "array", "items": _PROBLEM}},
                },
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


Adapters = dict[tuple[str, JsonSchemaMode], Document]


def _schemas(operations: tuple[Operation, ...]) -> tuple[Adapters, Document]:
    """The schema of each operation's body and answer, and those that they refer to."""
    inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = []
    for operation in operations:
        name = operation.handle.__name__
        if operation.has_body:
            inputs.append((name, "validation", TypeAdapter(operation.body)))
        if operation.answer is not None:
            inputs.append((name, "serialization", operation.adapter))
        for status, answer in operation.says.items():
            inputs.append((f"{name} {status}", "serialization", TypeAdapter(answer)))
    made, shared = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    return dict(made), dict(shared.get("$defs", {}))


def _operation(operation: Operation, adapters: Adapters) -> Document:
    name = operation.handle.__name__
    summary, _, description = (inspect.getdoc(operation.handle) or "").partition("\n")
    described: Document = {
        "operationId": name,
        "summary": summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation, adapters),
    }
    if operation.open:
        described["security"] = []
    if description.strip():
        described["description"] = " ".join(description.split())
    if operation.has_body:
        schema = adapters[name, "validation"]
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return described


def _parameters(operation: Operation) -> list[Document]:
    model = operation.params.model_json_schema()
    required = model.get("required", [])
    found: list[Document] = [
        {
            "name": name,
            "in": "path" if f"{{{name}}}" in operation.path else "query",
            "required": name in required,
            "schema": {key: value for key, value in schema.items() if key != "title"},
        }
        for name, schema in model.get("properties", {}).items()
    ]
    if operation.once:
        schema = {"type": "string", "minLength": 1, "maxLength": 255}
        found.append({"name": KEY_HEADER, "in": "header", "required": False, "schema": schema})
    return found


def _responses(operation: Operation, adapters: Adapters) -> Document:
    success: Document = {"description": HTTPStatus(operation.status).phrase}
    if operation.status != HTTPStatus.NO_CONTENT:
        schema = adapters.get((operation.handle.__name__, "serialization"), {})
        success["content"] = {
            media: {"schema": schema if media == JSON else {"type": "string"}}
            for media in operation.media
        }
    if operation.attachment:
        success["headers"] = {"Content-Disposition": {"schema": {"type": "string"}}}
    refusals = {*operation.fails, *operation.says, *_ALWAYS}
    if not operation.open:
        refusals |= {*_WITH_TOKEN}
    if operation.has_body:
        refusals |= {*_WITH_BODY}
    if operation.validates:
        refusals |= {422}
    responses: Document = {str(operation.status): success}
    for status in sorted(refusals):
        schema = _INVALID if status == HTTPStatus.UNPROCESSABLE_ENTITY else _ERROR
        schema = adapters.get((f"{operation.handle.__name__} {status}", "serialization"), schema)
        refusal: Document = {
            "description": HTTPStatus(status).phrase,
            "content": {JSON: {"schema": schema}},
        }
        if status in _HEADERS:
            refusal["headers"] = _HEADERS[status]
        responses[str(status)] = refusal
    return responses

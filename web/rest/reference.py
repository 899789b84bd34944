"""`/openapi.json` and `/docs`: the API's description, for programs and for people."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from html import escape

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .endpoint import JSON, Operation
from .openapi import Document, describe
from .words import fields, in_words, table

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "summary{cursor:pointer;padding:.3rem 0}code{font:14px/1.4 ui-monospace,monospace}"
    "td,th{text-align:left;padding:.1rem .8rem .1rem 0;vertical-align:top}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def reference(operations: Iterable[Operation]) -> list[Route]:
    """Two routes. Both answers are made once, when the first is asked for."""
    operations = tuple(operations)

    @cache
    def document() -> Document:
        return describe(operations)

    @cache
    def page() -> str:
        return _page(document())

    async def openapi(_request: Request) -> Response:
        return Response(orjson.dumps(document()), media_type=JSON)

    async def docs(_request: Request) -> Response:
        headers = {"Content-Security-Policy": _POLICY}
        return Response(page(), media_type="text/html", headers=headers)

    return [Route("/openapi.json", openapi), Route("/docs", docs)]


def _page(document: Document) -> str:
    info = document["info"]
    operations = [
        _operation(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in document["components"]["schemas"].items()]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1>"
        f"<p>{escape(info['description'])} For programs: "
        '<a href="/openapi.json">openapi.json</a>.</p>'
        f"<h2>Operations</h2>{''.join(operations)}<h2>Schemas</h2>{''.join(schemas)}"
        "</body></html>"
    )


def _operation(method: str, path: str, operation: Document) -> str:
    parameters = table(
        (
            f"<code>{escape(each['name'])}</code>",
            escape(each["in"]),
            "required" if each["required"] else "",
            in_words(each["schema"]),
        )
        for each in operation["parameters"]
    )
    body = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema")
    answers = table(
        (escape(status), escape(answer["description"]), _contents(answer))
        for status, answer in operation["responses"].items()
    )
    more = escape(operation.get("description", ""))
    return (
        f"<details><summary><code>{escape(method)} {escape(path)}</code>"
        f" {escape(operation['summary'])}</summary><p>{more}</p>{parameters}"
        + (f"<p>Body: {in_words(body)}</p>" if body else "")
        + f"{answers}</details>"
    )


def _contents(answer: Document) -> str:
    """What an answer carries; the media type is named where it is not JSON alone."""
    contents = answer.get("content", {})
    if list(contents) == [JSON]:
        return in_words(contents[JSON]["schema"])
    return "<br>".join(
        f"<code>{escape(media)}</code>: {in_words(each['schema'])}"
        for media, each in contents.items()
    )


def _schema(name: str, schema: Document) -> str:
    described = escape(schema.get("description", ""))
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{described}</p>{fields(schema)}'

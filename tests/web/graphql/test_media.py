"""The form of an answer: what the client likes best of what there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mission_system.web.graphql.media import STREAMS, Media, accepted

MULTIPART = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0"


@pytest.mark.parametrize(
    ("header", "media"),
    [
        (None, Media.JSON),
        ("", Media.JSON),
        ("*/*", Media.JSON),
        ("application/*", Media.JSON),
        ("application/json", Media.JSON),
        ("APPLICATION/JSON; charset=utf-8", Media.JSON),
        ("application/graphql-response+json", Media.RESPONSE),
        ("application/json, application/graphql-response+json", Media.RESPONSE),
        ("application/json, application/graphql-response+json;q=0.9", Media.JSON),
        ("text/html, */*;q=0.8", Media.JSON),
        ("text/event-stream", Media.EVENTS),
        ("text/event-stream, application/json", Media.JSON),
        ("text/event-stream, application/json;q=0.5", Media.EVENTS),
        ("text/event-stream;q=0.5, application/json", Media.JSON),
        (f"{MULTIPART},application/json", Media.JSON),
        (f"{MULTIPART},application/json;q=0.9", Media.MULTIPART),
        ('multipart/mixed;subscriptionSpec="1.0"', Media.MULTIPART),
        ("multipart/mixed;deferSpec=20220824,application/json", Media.JSON),
        ("multipart/mixed", None),
        ("text/html", None),
        ("image/png, text/plain", None),
        ("application/json;q=0", None),
        ("application/json;q=0, */*", Media.JSON),
        ("application/json;q=nonsense", None),
    ],
)
def test_the_best_form_is_chosen(header: str | None, media: Media | None) -> None:
    assert accepted(header) == media


@pytest.mark.parametrize(
    ("header", "media"),
    [
        (None, None),
        ("*/*", None),
        ("application/json", None),
        ("application/json, text/event-stream;q=0.1", Media.EVENTS),
        (f"{MULTIPART},application/json", Media.MULTIPART),
        (f"application/json, {MULTIPART}, text/event-stream", Media.EVENTS),
        ("application/json, multipart/mixed", None),
        ("application/json, text/event-stream;q=0", None),
    ],
)
def test_the_best_stream_is_chosen_whatever_else_is_liked(
    header: str | None, media: Media | None
) -> None:
    assert accepted(header, STREAMS) == media


@given(st.text())
def test_no_header_is_too_strange(header: str) -> None:
    accepted(header)

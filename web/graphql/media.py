"""Which form of answer a client asks for."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Media(StrEnum):
    """The forms that there are; where a client likes several as much, the first one wins.

    Streams come last: some clients ask for everything they can read with every operation, and a
    single result is no stream. What only a stream can give is found among `STREAMS`.
    """

    RESPONSE = "application/graphql-response+json"
    JSON = "application/json"
    EVENTS = "text/event-stream"
    MULTIPART = "multipart/mixed"

    @property
    def streams(self) -> bool:
        return self in STREAMS

    @property
    def asked_for(self) -> str:
        """What a client puts into `Accept` to be given this form."""
        return f"{self};subscriptionSpec=1.0" if self is Media.MULTIPART else self


STREAMS = (Media.EVENTS, Media.MULTIPART)


def accepted(header: str | None, among: Iterable[Media] = Media) -> Media | None:
    """The best form for an `Accept` header, or None when there is none that it allows.

    Wildcards, and no header at all, mean plain JSON: the older clients that send them expect it.
    """
    weights: dict[Media, float] = {}
    for part in ((header and header.strip()) or "*/*").split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        offers = dict(_pair(parameter) for parameter in parameters)
        if media := _named(name.lower(), offers):
            weights[media] = max(weights.get(media, 0), _weight(offers.get("q", "1")))
    best = max(among, key=lambda media: weights.get(media, 0))
    return best if weights.get(best, 0) > 0 else None


def _named(name: str, parameters: dict[str, str]) -> Media | None:
    if name in ("*/*", "application/*"):
        return Media.JSON
    if name == Media.MULTIPART and not parameters.get("subscriptionspec", "").startswith("1."):
        return None  # some other use of multipart, such as incremental delivery
    try:
        return Media(name)
    except ValueError:
        return None


def _pair(parameter: str) -> tuple[str, str]:
    name, _, value = parameter.partition("=")
    return name.strip().lower(), value.strip(" \"'")


def _weight(value: str) -> float:
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0

"""Keyset pages: a cursor is the sort key of a row, so a deep page costs what the first does.

A page is read in either direction, and knows whether there is more on either side of it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson

from ..errors import InvalidInput
from ..storage.persistence import Persistence, Row
from .records import Page

MAX_PAGE = 500
BIGGEST = (1 << 63) - 1
Key = tuple[int | str, ...]
Kind = type[int] | type[str]


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list: of what lies after `after` and before `before` the first `size` items,
    or, `backward`, the last. The order is the list's either way. `offset` skips as many first.

    Raises:
        InvalidInput: `size` or `offset` is out of its bounds.
    """

    size: int = 50
    after: str | None = None
    before: str | None = None
    backward: bool = False
    offset: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_PAGE:
            name = "last" if self.backward else "first"
            raise InvalidInput(name, f"must be between 1 and {MAX_PAGE}")
        if self.offset < 0:
            raise InvalidInput("offset", "must not be negative")


START = Window()
"""The first page of what every list gives unasked."""


def encode_cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: Kind, field: str = "after") -> Key:
    """The key in a cursor, checked to be of these types.

    Raises:
        InvalidInput: this is not a cursor that a listing of this kind gave out.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key = orjson.loads(raw)
    except (binascii.Error, ValueError):
        key = None
    if (
        not isinstance(key, list)
        or len(key) != len(kinds)
        or any(type(part) is not kind for part, kind in zip(key, kinds, strict=True))
        or any(isinstance(part, int) and abs(part) > BIGGEST for part in key)
    ):
        raise InvalidInput(field, "not a cursor of this list; use one that it returned")
    return tuple(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Rows that are read in pages, in the order of columns which together are unique.

    `select` is the SELECT up to its WHERE; `source` the table in it that the key is of, with its
    alias; `row` the column that names a row of that table alone.
    """

    select: str
    source: str
    row: str
    key: tuple[str, ...]
    kinds: tuple[Kind, ...]
    descending: bool = False

    async def page(
        self, storage: Persistence, where: str, params: Sequence[Any], window: Window
    ) -> Page[Row]:
        """One page of the rows for which `where` holds."""
        rows = await self.rows(storage, where, params, window)
        beyond: set[str] = set()
        for field, outside in self._outside(window):
            probe = f"{self.select} WHERE {where}{outside.sql} LIMIT 1"
            if await storage.fetch_one(probe, (*params, *outside.params)) is not None:
                beyond.add(field)
        return self.page_of(rows, window, beyond)

    async def rows(
        self, storage: Persistence, where: str, params: Sequence[Any], window: Window
    ) -> list[Row]:
        """The rows of a page in the direction of reading, with one too many if there are more."""
        inside = self._between(window)
        return await storage.fetch_all(
            f"{self.select} WHERE {where}{inside.sql} ORDER BY {self._order(window.backward)}"
            f" LIMIT ?{' OFFSET ?' if window.offset else ''}",
            (*params, *inside.params, window.size + 1, *_offset(window)),
        )

    async def pages(
        self,
        storage: Persistence,
        scope: str,
        scopes: Sequence[Any],
        where: str,
        params: Sequence[Any],
        window: Window,
    ) -> dict[Any, Page[Row]]:
        """For each of `scopes`, the page of the rows whose column `scope` has that value and for
        which `where`, over the columns of `source`, holds; as many statements as for one page."""
        if len(scopes) == 1:
            [only] = scopes
            one = await self.page(storage, f"{scope} = ? AND {where}", (only, *params), window)
            return {only: one}
        inside = self._between(window)
        rows = await storage.fetch_all(
            f"{self.select} WHERE {self.row} IN ("  # noqa: S608
            + self._each(
                len(scopes),
                f"SELECT {self.row} FROM {self.source}"  # noqa: S608
                f" WHERE {scope} = ? AND {where}{inside.sql}"
                f" ORDER BY {self._order(window.backward)} LIMIT ?",
            )
            + f") ORDER BY {scope}, {self._order(window.backward)}",
            [
                each
                for value in scopes
                for each in (value, *params, *inside.params, window.size + 1)
            ],
        )
        beyond: dict[str, list[Row]] = {}
        for field, outside in self._outside(window):
            mine = f"{scope} = ? AND {where}"
            probe = f"SELECT {scope} AS scope FROM {self.source} WHERE {mine}"  # noqa: S608
            beyond[field] = await storage.fetch_all(
                self._each(len(scopes), f"{probe}{outside.sql} LIMIT 1"),
                [each for value in scopes for each in (value, *params, *outside.params)],
            )
        return self._by_scope(scope, scopes, rows, window, beyond)

    async def shares(
        self,
        storage: Persistence,
        scope: str,
        scopes: Sequence[Any],
        where: str,
        params: Sequence[Any],
        window: Window,
    ) -> dict[Any, Page[Row]]:
        """The same as `pages` where no index leads to a scope: the rows for which `where` holds
        are read once for all of them, so it should hold for few others."""
        marks = ", ".join("?" * len(scopes))
        mine, given = f"{scope} IN ({marks}) AND {where}", (*scopes, *params)
        inside, order = self._between(window), self._order(window.backward)
        rows = await storage.fetch_all(
            f"{self.select} JOIN (SELECT {self.row} AS id, ROW_NUMBER() OVER"  # noqa: S608
            f" (PARTITION BY {scope} ORDER BY {order}) AS place FROM {self.source}"
            f" WHERE {mine}{inside.sql}) n ON n.id = {self.row}"
            f" WHERE n.place <= ? ORDER BY {scope}, {order}",
            (*given, *inside.params, window.size + 1),
        )
        beyond: dict[str, list[Row]] = {}
        for field, outside in self._outside(window):
            beyond[field] = await storage.fetch_all(
                f"SELECT DISTINCT {scope} AS scope FROM {self.source}"  # noqa: S608
                f" WHERE {mine}{outside.sql}",
                (*given, *outside.params),
            )
        return self._by_scope(scope, scopes, rows, window, beyond)

    def _by_scope(
        self,
        scope: str,
        scopes: Sequence[Any],
        rows: Sequence[Row],
        window: Window,
        beyond: Mapping[str, Sequence[Row]],
    ) -> dict[Any, Page[Row]]:
        """`rows` are in the order of `scope`; `beyond` names, by cursor, scopes with rows on its
        other side."""
        sides: dict[Any, set[str]] = {value: set() for value in scopes}
        for field, found in beyond.items():
            for row in found:
                sides[row["scope"]].add(field)
        pages = {value: self.page_of((), window, sides[value]) for value in scopes}
        for value, group in groupby(rows, key=lambda row: row[_bare(scope)]):
            pages[value] = self.page_of(list(group), window, sides[value])
        return pages

    def page_of(self, rows: Sequence[Row], window: Window, beyond: Container[str]) -> Page[Row]:
        """What `rows` gave. `beyond` has the names of the cursors with rows on their other side."""
        shown, more = list(rows[: window.size]), len(rows) > window.size
        if window.backward:
            shown.reverse()
        cursors = (encode_cursor(tuple(row[_bare(name)] for name in self.key)) for row in shown)
        return Page(
            tuple(shown),
            tuple(cursors),
            has_next="before" in beyond or (more and not window.backward),
            has_previous="after" in beyond or (more and window.backward),
        )

    def _between(self, window: Window) -> _Condition:
        return self._beyond("after", window.after) + self._beyond("before", window.before)

    def _outside(self, window: Window) -> list[tuple[str, _Condition]]:
        """What holds for rows on the other side of each cursor of the window."""
        sides = (("after", window.after), ("before", window.before))
        return [
            (field, self._beyond(field, cursor, outside=True))
            for field, cursor in sides
            if cursor is not None
        ]

    def _beyond(self, field: str, cursor: str | None, *, outside: bool = False) -> _Condition:
        if cursor is None:
            return _Condition()
        key = decode_cursor(cursor, *self.kinds, field=field)
        greater = (field == "after") is not self.descending
        sign = (">" if greater else "<") if not outside else ("<=" if greater else ">=")
        columns, marks = ", ".join(self.key), ", ".join("?" * len(key))
        return _Condition(f" AND ({columns}) {sign} ({marks})", key)

    def _order(self, backward: bool) -> str:
        direction = " DESC" if self.descending is not backward else ""
        return ", ".join(name + direction for name in self.key)

    @staticmethod
    def _each(times: int, select: str) -> str:
        arms = (f"SELECT * FROM ({select}) a{n}" for n in range(times))  # noqa: S608
        return " UNION ALL ".join(arms)


@dataclass(frozen=True, slots=True)
class _Condition:
    sql: str = ""
    params: Key = ()

    def __add__(self, other: _Condition) -> _Condition:
        return _Condition(self.sql + other.sql, self.params + other.params)


def _bare(column: str) -> str:
    return column.rpartition(".")[2]


def _offset(window: Window) -> tuple[int, ...]:
    return (min(window.offset, BIGGEST),) if window.offset else ()

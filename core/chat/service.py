"""Sessions and messages, for one caller at a time."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from ..clock import Micros, from_datetime, now
from ..errors import InvalidInput, NotFound
from ..events.log import EventLog
from ..identity import Caller
from ..storage.persistence import Persistence, Transaction
from .changes import KEEP, Changes, EndProcesses, Kept
from .export import FORMATS, Export, ExportFormat, export
from .paging import BIGGEST, MAX_PAGE, START, Window
from .places import DEEP, Places
from .records import Found, Message, Page, Session
from .rows import BY_ACTIVITY, IN_ORDER, MESSAGES, SESSIONS, message_from, session_from
from .search.indexer import Indexer
from .search.service import Search
from .text import MAX_ID, MAX_MESSAGE, MAX_TITLE, checked, known_form
from .units import ChatUnits

MAX_QUERY = 500
Period = Literal["today", "week", "month"]
"""When a session was last active: on this UTC date, within 7 days, within 30 days."""


class ChatService(ChatUnits):
    """Every method sees the caller's own data only; the rest does not exist."""

    def __init__(self, persistence: Persistence, log: EventLog) -> None:
        super().__init__(persistence, log)
        self._changes = Changes(self)
        self.indexer = Indexer(persistence)
        self.places = Places(persistence)
        self._search = Search(persistence, self.indexer.wear)

    def on_removal(self, end: EndProcesses) -> None:
        """Called by whoever runs processes: `end` ends those of a session that is removed."""
        self._changes.end_processes = end

    # sessions

    async def create_session(
        self, caller: Caller, *, title: str | None = None, capability: str | None = None
    ) -> Session:
        """A new, empty session. `capability` answers its messages unless they name another."""
        _check_title(title)
        if capability is not None:
            checked("capability", capability, longest=MAX_ID)
        public_id = str(uuid.uuid4())

        async def unit(tx: Transaction) -> Session:
            at = now()
            session, created = await self.insert_session(
                tx, caller, public_id, title, capability, at
            )
            last_seq = await self.append(tx, session.id, caller, at, created)
            return replace(session, last_seq=last_seq)

        return await self._persistence.write(unit)

    async def get_session(self, caller: Caller, session_id: str) -> Session:
        """By its id, deleted or not."""
        row = await self._persistence.fetch_one(
            SESSIONS + " WHERE s.user_id = ? AND s.public_id = ?",
            (caller.user_id, known_form("session", session_id)),
        )
        if row is None:
            raise NotFound("session", session_id)
        return session_from(row)

    async def get_sessions(self, caller: Caller, ids: Sequence[str]) -> dict[str, Session]:
        """Those of `ids` that are the caller's, by id, deleted or not."""
        marks = ", ".join("?" * len(ids))
        rows = await self._persistence.fetch_all(
            f"{SESSIONS} WHERE s.user_id = ? AND s.public_id IN ({marks})", (caller.user_id, *ids)
        )
        return {row["public_id"]: session_from(row) for row in rows}

    async def list_sessions(
        self,
        caller: Caller,
        window: Window = START,
        *,
        active: Period | None = None,
        include_deleted: bool = False,
    ) -> Page[Session]:
        """The one last active first."""
        if window.offset >= DEEP and window.after is window.before is None and not window.backward:
            deep = await self._deep_page(caller, window, _beginning(active), include_deleted)
            if deep is not None:
                return deep
        where = "s.user_id = ? AND s.last_activity >= ?" + _shown("s", include_deleted)
        params = (caller.user_id, _beginning(active))
        found = await BY_ACTIVITY.page(self._persistence, where, params, window)
        return found.of(session_from)

    async def _deep_page(
        self, caller: Caller, window: Window, since: Micros, include_deleted: bool
    ) -> Page[Session] | None:
        ids = await self.places.page(
            caller.user_id, include_deleted, since, window.offset, window.size + 1
        )
        if not ids:
            return None if ids is None else Page((), (), has_next=False)
        marks = ", ".join("?" * len(ids))
        rows = await self._persistence.fetch_all(
            f"{SESSIONS} WHERE s.id IN ({marks})"
            + _shown("s", include_deleted)
            + " ORDER BY s.last_activity DESC, s.id DESC",
            ids,
        )
        return BY_ACTIVITY.page_of(rows, window, ()).of(session_from)

    async def update_session(
        self,
        caller: Caller,
        session_id: str,
        *,
        title: str | None = None,
        archived_at: datetime | Kept | None = KEEP,
    ) -> Session:
        """Rename, archive, un-archive (`archived_at` None); without either it counts as activity.

        `title` None leaves the title as it is.
        """
        _check_title(title)
        known_form("session", session_id)
        return await self._persistence.write(
            lambda tx: self._changes.update_session(tx, caller, session_id, title, archived_at)
        )

    async def delete_session(self, caller: Caller, session_id: str, *, soft: bool = True) -> None:
        """Softly: it and its messages are hidden, and what runs goes on to its end, hidden too.
        Otherwise all of it is removed for good, and what runs is ended."""
        known_form("session", session_id)
        delete = self._changes.delete_session if soft else self._changes.remove_session
        await self._persistence.write(lambda tx: delete(tx, caller, session_id))
        if not soft:
            self.indexer.wake()

    async def export_session(
        self, caller: Caller, session_id: str, format: ExportFormat = "json"
    ) -> Export:
        """The undeleted messages as they are now, as a file."""
        if format not in FORMATS:
            raise InvalidInput("format", f"choose one of: {', '.join(FORMATS)}")
        session = await self.get_session(caller, session_id)
        return export(session, self._messages_of(caller, session), format)

    # messages

    async def list_messages(
        self,
        caller: Caller,
        session_id: str,
        window: Window = START,
        *,
        include_deleted: bool = False,
    ) -> Page[Message]:
        """A session's messages, oldest first."""
        session = await self.get_session(caller, session_id)
        where = "m.session_id = ?" + _shown("m", include_deleted)
        found = await IN_ORDER.page(self._persistence, where, (session.id,), window)
        return found.of(message_from)

    async def list_messages_of(
        self,
        caller: Caller,
        sessions: Sequence[int],
        window: Window = START,
        *,
        include_deleted: bool = False,
    ) -> dict[int, Page[Message]]:
        """The same for several sessions at once, by `Session.id`; of another's session none."""
        own = "EXISTS (SELECT 1 FROM session o WHERE o.id = m.session_id AND o.user_id = ?)"
        where = own + _shown("m", include_deleted)
        found = await IN_ORDER.pages(
            self._persistence, "m.session_id", sessions, where, (caller.user_id,), window
        )
        return {session: page.of(message_from) for session, page in found.items()}

    async def get_message(self, caller: Caller, message_id: int) -> Message:
        row = None
        if _is_number(message_id):
            row = await self._persistence.fetch_one(
                MESSAGES + " WHERE m.id = ? AND s.user_id = ?", (message_id, caller.user_id)
            )
        if row is None:
            raise NotFound("message", str(message_id))
        return message_from(row)

    async def get_messages(self, caller: Caller, ids: Sequence[int]) -> dict[int, Message]:
        """Those of `ids` that are the caller's, by id."""
        marks = ", ".join("?" * len(ids))
        rows = await self._persistence.fetch_all(
            f"{MESSAGES} WHERE m.id IN ({marks})"  # noqa: S608 (not by way of all sessions)
            " AND (SELECT o.user_id FROM session o WHERE o.id = m.session_id) = ?",
            (*ids, caller.user_id),
        )
        return {row["id"]: message_from(row) for row in rows}

    async def edit_message(self, caller: Caller, message_id: int, content: str) -> Message:
        """Another text for what the user said; the first edit keeps the original beside it.

        Raises:
            NotFound: also of one that is deleted.
            Forbidden: it is not the user's own.
        """
        checked("content", content, longest=MAX_MESSAGE)
        _check_number(message_id)
        return await self._persistence.write(
            lambda tx: self._changes.edit_message(tx, caller, message_id, content)
        )

    async def delete_message(self, caller: Caller, message_id: int, *, soft: bool = True) -> None:
        """Softly: it is hidden. Otherwise it is removed for good."""
        _check_number(message_id)
        await self._persistence.write(
            lambda tx: self._changes.delete_message(tx, caller, message_id, soft)
        )
        if not soft:
            self.indexer.wake()

    async def search(self, caller: Caller, query: str, window: Window = START) -> Page[Found]:
        """Undeleted messages that contain the text literally, newest first.

        Case is ignored as `core.chat.search.case` says: by Unicode's full case folding, `é` being
        the same in one code point and in two.
        """
        checked("query", query, longest=MAX_QUERY)
        return await self._search.newest(caller, query, window)

    async def search_best(self, caller: Caller, query: str, size: int = 50) -> Page[Found]:
        """Undeleted messages that contain each word of the query, the best of the newest first.

        Raises:
            InvalidInput: too many words, or a number that is out of its bounds.
        """
        checked("query", query, longest=MAX_QUERY)
        return await self._search.best(caller, query, Window(size).size)

    async def _messages_of(self, caller: Caller, session: Session) -> AsyncGenerator[Message, None]:
        """As many as the session had when it was read: one that grows meanwhile has an end, and
        so has one that is removed."""
        after, left = None, session.message_count
        while left > 0:
            first = min(left, MAX_PAGE)
            try:
                found = await self.list_messages(caller, session.session_id, Window(first, after))
            except NotFound:
                return
            for message in found.items:
                yield message
            if not found.has_next:
                return
            after, left = found.cursors[-1], left - first


def _shown(alias: str, include_deleted: bool) -> str:
    return "" if include_deleted else f" AND {alias}.deleted_at IS NULL"


def _check_title(title: str | None) -> None:
    if title is not None:
        checked("title", title, longest=MAX_TITLE, may_be_empty=True)


def _is_number(message_id: int) -> bool:
    return 0 < message_id <= BIGGEST


def _check_number(message_id: int) -> None:
    if not _is_number(message_id):
        raise NotFound("message", str(message_id))


def _beginning(period: Period | None) -> Micros:
    """The earliest last activity of a period that ends now."""
    if period is None:
        return -BIGGEST
    moment = datetime.now(UTC)
    if period == "today":
        return from_datetime(moment.replace(hour=0, minute=0, second=0, microsecond=0))
    return from_datetime(moment - timedelta(days=7 if period == "week" else 30))

"""Advisory locks: held by a session, and gone with it however it ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AdvisoryLock:
    """One lock for each schema of a database. `number` says what for."""

    number: int

    @property
    def _key(self) -> str:
        return f"{self.number}, hashtext(coalesce(current_schema(), ''))"

    @property
    def wait(self) -> str:
        """Takes it, waiting for its turn."""
        return f"SELECT pg_advisory_lock({self._key})"

    @property
    def take(self) -> str:
        """Whether it could be had at once."""
        return f"SELECT pg_try_advisory_lock({self._key})"

    @property
    def holder(self) -> str:
        """Who has it: the session's `pid`, `name`, `address` and `since`."""
        return f"""
            SELECT a.pid, a.application_name AS name, host(a.client_addr) AS address,
                   a.backend_start AS since
            FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.classid::bigint = {self.number}
              AND l.objid::bigint =
                  hashtext(coalesce(current_schema(), ''))::bigint & 4294967295
        """  # noqa: S608 (the number is ours)


LEASE = AdvisoryLock(0x4D534C45)
MIGRATION = AdvisoryLock(0x4D534D49)

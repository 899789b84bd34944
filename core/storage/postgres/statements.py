"""The placeholders of our statements, in PostgreSQL's own form."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count

# Quoted text and names are passed over whole; a doubled quote is two of them side by side.
_PARTS = re.compile(r"""'[^']*'|"[^"]*"|\?""")


@lru_cache(maxsize=4096)
def numbered(sql: str) -> str:
    """The statement with `$1`, `$2`, ... for each `?` that is not inside quotes."""
    numbers = count(1)
    return _PARTS.sub(lambda part: f"${next(numbers)}" if part[0] == "?" else part[0], sql)

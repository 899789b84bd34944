"""Prints the API's description, as `openapi.json` holds it."""

from __future__ import annotations

import sys

import orjson

from .openapi import describe
from .table import OPERATIONS

if __name__ == "__main__":
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    sys.stdout.write(orjson.dumps(describe(OPERATIONS), option=options).decode())

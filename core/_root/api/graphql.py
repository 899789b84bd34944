"""What a plugin builds its part of the GraphQL schema with, beside Strawberry itself.

Import it where the types are, not where the hooks are: it loads the whole schema.
"""

from __future__ import annotations

from ..schema.arguments import Count, page_size
from ..schema.capability import Capability
from ..schema.context import Context, Info
from ..schema.errors import Errors
from ..schema.fields import field, mutation, subscription
from ..schema.message import Message
from ..schema.node import key_of
from ..schema.process import Process
from ..schema.scalars import Long
from ..schema.session import Session

__all__ = [
    "Capability",
    "Context",
    "Count",
    "Errors",
    "Info",
    "Long",
    "Message",
    "Process",
    "Session",
    "field",
    "key_of",
    "mutation",
    "page_size",
    "subscription",
]

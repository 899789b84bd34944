"""The tables of the search index; `models` says how tables are described."""

# pyright: reportIncompatibleVariableOverride=false

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model


class SearchMark(Model):
    """Up to which message the search index has taken note. One row."""

    id = fields.BigIntField(primary_key=True, generated=False)
    message_id = fields.BigIntField()

    class Meta:
        table = "search_mark"


class SearchTail(Model):
    """A message of a user which no block of the search index holds yet."""

    id = fields.BigIntField(primary_key=True)
    user_id = fields.CharField(max_length=255)
    message_id = fields.BigIntField()

    class Meta:
        table = "search_tail"
        unique_together = (("user_id", "message_id"),)


class SearchBlock(Model):
    """Some messages of one user that follow each other, indexed together."""

    id = fields.BigIntField(primary_key=True)
    user_id = fields.CharField(max_length=255)
    state = fields.IntField()  # 1: in use; 0: being built, or left over
    worn = fields.IntField()  # 1: holds what was removed for good, and is to be made again
    size = fields.IntField()  # messages
    weight = fields.IntField()
    first_id = fields.BigIntField()
    last_id = fields.BigIntField()

    class Meta:
        table = "search_block"
        indexes = (Index(fields=("user_id", "last_id")), Index(fields=("state", "worn")))


class SearchPage(Model):
    """A part of a block: which grams are in which of its messages, or their ids."""

    id = fields.BigIntField(primary_key=True)
    block: fields.ForeignKeyRelation[SearchBlock] = fields.ForeignKeyField(
        "core.SearchBlock", related_name=False
    )
    first_key = fields.BigIntField()
    body = fields.BinaryField()

    class Meta:
        table = "search_page"
        unique_together = (("block", "first_key"),)


class SearchLoose(Model):
    """A message of a block that has been edited since: always looked at itself."""

    id = fields.BigIntField(primary_key=True)
    block: fields.ForeignKeyRelation[SearchBlock] = fields.ForeignKeyField(
        "core.SearchBlock", related_name=False
    )
    message_id = fields.BigIntField()

    class Meta:
        table = "search_loose"
        unique_together = (("block", "message_id"),)

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor

from ..fields import RowId

PARTIAL_INDEXES = [
    "CREATE UNIQUE INDEX uid_stream_name ON stream (name) WHERE name IS NOT NULL",
    "CREATE UNIQUE INDEX uid_event_told ON event (pid, key, type) WHERE key IS NOT NULL",
    "CREATE UNIQUE INDEX uid_process_request ON process (request_id, user_id)"
    " WHERE request_id IS NOT NULL",
    "CREATE INDEX idx_process_parent ON process (parent_pid, pid) WHERE parent_pid IS NOT NULL",
    "CREATE INDEX idx_message_edited ON message (edited_at) WHERE edited_at IS NOT NULL",
    "CREATE INDEX idx_message_deleted ON message (deleted_at) WHERE deleted_at IS NOT NULL",
    "CREATE INDEX idx_session_deleted ON session (deleted_at) WHERE deleted_at IS NOT NULL",
    "CREATE INDEX idx_process_state ON process (state, pid) WHERE state <> 'terminated'",
]

# What everybody has used is added up where it is stored, for a scan of all sessions takes long.
# In parts, so that units of many sessions do not wait for one row.
SHARDS = 64
SHARD = f"NEW.session_id % {SHARDS}"
USED = ("processes", "llm_calls", "tool_calls", "tokens_in", "tokens_out", "cost", "elapsed")
REPLIED = ("calls", "tokens_in", "tokens_out", "cost")


def added(table: str, keys: dict[str, str], sums: tuple[str, ...]) -> str:
    """A new row of what is added up."""
    columns = ", ".join((*keys, *sums))
    values = ", ".join((*keys.values(), *(f"NEW.{name}" for name in sums)))
    more = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    return (
        f"INSERT INTO {table} ({columns}) VALUES ({values})"  # noqa: S608
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {more};"
    )


def changed(table: str, keys: dict[str, str], sums: tuple[str, ...]) -> str:
    """A row of what is added up that has become another."""
    more = ", ".join(f"{name} = {name} + NEW.{name} - OLD.{name}" for name in sums)
    where = " AND ".join(f"{name} = {value}" for name, value in keys.items())
    return f"UPDATE {table} SET {more} WHERE {where};"  # noqa: S608


class KeepTotals(ops.RunSQL):
    """Triggers on `source` that keep `table`; `first` is PostgreSQL of what they do before."""

    def __init__(
        self, source: str, table: str, keys: dict[str, str], sums: tuple[str, ...], first: str = ""
    ) -> None:
        new, more = added(table, keys, sums), changed(table, keys, sums)
        self.of = {
            "sqlite": [
                f"CREATE TRIGGER {table}_added AFTER INSERT ON {source} BEGIN {new} END",
                f"CREATE TRIGGER {table}_changed AFTER UPDATE ON {source} BEGIN {more} END",
            ],
            "postgres": [
                f"CREATE FUNCTION keep_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                f" {first} IF TG_OP = 'INSERT' THEN {new} ELSE {more} END IF; RETURN NULL; END $$",
                f"CREATE TRIGGER {table}_kept AFTER INSERT OR UPDATE ON {source}"
                f" FOR EACH ROW EXECUTE FUNCTION keep_{table}()",
            ],
        }
        super().__init__([])

    async def _run_sql(self, state_editor: BaseSchemaEditor, sqls: object) -> None:  # noqa: ARG002
        for sql in self.of[state_editor.DIALECT]:
            # The editor's own way cuts at every semicolon.
            await state_editor.client.execute_script(sql)


# There from the start: a row that is made at first use cannot be locked before.
SHARD_ROWS = "INSERT INTO system_usage (shard, {}) VALUES {}".format(  # noqa: S608
    ", ".join(USED), ", ".join(f"({shard}{', 0' * len(USED)})" for shard in range(SHARDS))
)

TOTALS = [
    KeepTotals("usage", "system_usage", {"shard": SHARD}, USED),
    KeepTotals(
        "model_usage",
        "system_model_usage",
        {"model": "NEW.model", "shard": SHARD},
        REPLIED,
        # Two units with the same models in another order would wait for each other.
        f"PERFORM 1 FROM system_usage WHERE shard = {SHARD} FOR UPDATE;",
    ),
]


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name="Session",
            fields=[
                (
                    "id",
                    RowId(generated=True, primary_key=True, unique=True, db_index=True),
                ),
                ("public_id", fields.CharField(max_length=263)),
                ("user_id", fields.CharField(max_length=255)),
                ("title", fields.CharField(null=True, max_length=500)),
                ("capability", fields.CharField(null=True, max_length=255)),
                ("message_count", fields.BigIntField(default=0)),
                ("created_at", fields.BigIntField()),
                ("last_activity", fields.BigIntField()),
                ("deleted_at", fields.BigIntField(null=True)),
                ("archived_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "session",
                "app": "core",
                "unique_together": (("user_id", "public_id"),),
                "indexes": [Index(fields=["user_id", "last_activity", "id"])],
                "pk_attr": "id",
                "table_description": "A conversation. Shares its id with its stream. Clients see public_id.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Message",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        generated=True, primary_key=True, unique=True, db_index=True
                    ),
                ),
                (
                    "session",
                    fields.ForeignKeyField(
                        "core.Session",
                        source_field="session_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("pid", fields.CharField(null=True, max_length=36)),
                ("role", fields.CharField(max_length=16)),
                ("content", fields.TextField(unique=False)),
                ("data", fields.TextField(null=True, unique=False)),
                ("created_at", fields.BigIntField()),
                ("edited_at", fields.BigIntField(null=True)),
                ("deleted_at", fields.BigIntField(null=True)),
                ("original_content", fields.TextField(null=True, unique=False)),
            ],
            options={
                "table": "message",
                "app": "core",
                "indexes": [Index(fields=["session_id", "id"])],
                "pk_attr": "id",
                "table_description": "One message of a session, with the data that the capability attached.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Process",
            fields=[
                (
                    "pid",
                    fields.CharField(primary_key=True, unique=True, db_index=True, max_length=36),
                ),
                (
                    "session",
                    fields.ForeignKeyField(
                        "core.Session",
                        source_field="session_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("user_id", fields.CharField(max_length=255)),
                ("request_id", fields.CharField(null=True, max_length=255)),
                ("parent_pid", fields.CharField(null=True, max_length=36)),
                ("parent_key", fields.CharField(null=True, max_length=255)),
                ("depth", fields.IntField(default=0)),
                ("capability", fields.CharField(max_length=255)),
                ("version", fields.IntField()),
                ("state", fields.CharField(max_length=16)),
                ("priority", fields.CharField(max_length=16)),
                ("stage", fields.CharField(null=True, max_length=255)),
                ("epoch", fields.IntField(default=0)),
                ("message", fields.TextField(unique=False)),
                ("input", fields.TextField(unique=False)),
                ("quota", fields.TextField(unique=False)),
                ("outcome", fields.CharField(null=True, max_length=16)),
                ("reason", fields.CharField(null=True, max_length=255)),
                ("error", fields.TextField(null=True, unique=False)),
                ("message_id", fields.BigIntField()),
                ("reply_message_id", fields.BigIntField(null=True)),
                ("result", fields.TextField(null=True, unique=False)),
                ("llm_calls", fields.IntField(default=0)),
                ("tool_calls", fields.IntField(default=0)),
                ("agent_hops", fields.IntField(default=0)),
                ("iterations", fields.IntField(default=0)),
                ("steps", fields.IntField(default=0)),
                ("tokens_in", fields.BigIntField(default=0)),
                ("tokens_out", fields.BigIntField(default=0)),
                ("cost", fields.BigIntField(default=0)),
                ("elapsed", fields.BigIntField(default=0)),
                ("restarts", fields.IntField(default=0)),
                ("restarted_at", fields.IntField(default=0)),
                ("divergences", fields.IntField(default=0)),
                ("first_seq", fields.BigIntField()),
                ("created_at", fields.BigIntField()),
                ("started_at", fields.BigIntField(null=True)),
                ("completed_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "process",
                "app": "core",
                "indexes": [
                    Index(fields=["user_id", "pid"]),
                    Index(fields=["session_id", "pid"]),
                ],
                "pk_attr": "pid",
                "table_description": "One request. The epoch fences out runs that were only asleep.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Interrupt",
            fields=[
                (
                    "id",
                    fields.CharField(primary_key=True, unique=True, db_index=True, max_length=36),
                ),
                (
                    "process",
                    fields.ForeignKeyField(
                        "core.Process",
                        source_field="process_id",
                        db_constraint=True,
                        to_field="pid",
                        related_name=False,
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                (
                    "session",
                    fields.ForeignKeyField(
                        "core.Session",
                        source_field="session_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("user_id", fields.CharField(max_length=255)),
                ("key", fields.CharField(max_length=255)),
                ("kind", fields.CharField(max_length=32)),
                ("status", fields.CharField(max_length=16)),
                ("question", fields.TextField(unique=False)),
                ("options", fields.TextField(unique=False)),
                ("data", fields.TextField(null=True, unique=False)),
                ("answer", fields.TextField(null=True, unique=False)),
                ("created_at", fields.BigIntField()),
                ("expires_at", fields.BigIntField(null=True)),
                ("resolved_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "interrupt",
                "app": "core",
                "unique_together": (("process", "key"),),
                "indexes": [
                    Index(fields=["process_id", "status"]),
                    Index(fields=["status", "expires_at"]),
                    Index(fields=["user_id", "status", "id"]),
                    Index(fields=["session_id"]),
                ],
                "pk_attr": "id",
                "table_description": "A pause that needs an answer.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SearchMark",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        primary_key=True, generated=False, unique=True, db_index=True
                    ),
                ),
                ("message_id", fields.BigIntField()),
            ],
            options={
                "table": "search_mark",
                "app": "core",
                "pk_attr": "id",
                "table_description": "Up to which message the search index has taken note. One row.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SearchTail",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        generated=True, primary_key=True, unique=True, db_index=True
                    ),
                ),
                ("user_id", fields.CharField(max_length=255)),
                ("message_id", fields.BigIntField()),
            ],
            options={
                "table": "search_tail",
                "app": "core",
                "unique_together": (("user_id", "message_id"),),
                "pk_attr": "id",
                "table_description": "A message of a user which no block of the search index holds yet.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SearchBlock",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        generated=True, primary_key=True, unique=True, db_index=True
                    ),
                ),
                ("user_id", fields.CharField(max_length=255)),
                ("state", fields.IntField()),
                ("worn", fields.IntField()),
                ("size", fields.IntField()),
                ("weight", fields.IntField()),
                ("first_id", fields.BigIntField()),
                ("last_id", fields.BigIntField()),
            ],
            options={
                "table": "search_block",
                "app": "core",
                "indexes": [
                    Index(fields=["user_id", "last_id"]),
                    Index(fields=["state", "worn"]),
                ],
                "pk_attr": "id",
                "table_description": "Some messages of one user that follow each other, indexed together.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SearchPage",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        generated=True, primary_key=True, unique=True, db_index=True
                    ),
                ),
                (
                    "block",
                    fields.ForeignKeyField(
                        "core.SearchBlock",
                        source_field="block_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("first_key", fields.BigIntField()),
                ("body", fields.BinaryField()),
            ],
            options={
                "table": "search_page",
                "app": "core",
                "unique_together": (("block", "first_key"),),
                "pk_attr": "id",
                "table_description": "A part of a block: which grams are in which of its messages, or their ids.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SearchLoose",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        generated=True, primary_key=True, unique=True, db_index=True
                    ),
                ),
                (
                    "block",
                    fields.ForeignKeyField(
                        "core.SearchBlock",
                        source_field="block_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("message_id", fields.BigIntField()),
            ],
            options={
                "table": "search_loose",
                "app": "core",
                "unique_together": (("block", "message_id"),),
                "pk_attr": "id",
                "table_description": "A message of a block that has been edited since: always looked at itself.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Step",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        generated=True, primary_key=True, unique=True, db_index=True
                    ),
                ),
                (
                    "process",
                    fields.ForeignKeyField(
                        "core.Process",
                        source_field="process_id",
                        null=True,
                        db_constraint=True,
                        to_field="pid",
                        related_name=False,
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("key", fields.CharField(max_length=255)),
                ("kind", fields.CharField(max_length=16)),
                ("name", fields.CharField(max_length=255)),
                ("digest", fields.CharField(max_length=32)),
                ("status", fields.CharField(max_length=16)),
                ("attempt", fields.IntField(default=1)),
                ("output", fields.TextField(null=True, unique=False)),
                ("error", fields.TextField(null=True, unique=False)),
                ("large", fields.BooleanField(default=False)),
                ("size", fields.BigIntField(default=0)),
                ("input_changed", fields.BooleanField(default=False)),
                ("created_at", fields.BigIntField()),
                ("duration", fields.BigIntField(default=0)),
                ("tokens_in", fields.BigIntField(default=0)),
                ("tokens_out", fields.BigIntField(default=0)),
                ("model", fields.CharField(null=True, max_length=255)),
                ("cost", fields.BigIntField(default=0)),
            ],
            options={
                "table": "step",
                "app": "core",
                "unique_together": (("process", "key"),),
                "pk_attr": "id",
                "table_description": "One journaled effect, or a tool called outside any process.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="StepOutput",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        primary_key=True, generated=False, unique=True, db_index=True
                    ),
                ),
                (
                    "step",
                    fields.ForeignKeyField(
                        "core.Step",
                        source_field="step_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("body", fields.TextField(unique=False)),
            ],
            options={
                "table": "step_output",
                "app": "core",
                "indexes": [Index(fields=["step_id"])],
                "pk_attr": "id",
                "table_description": "An output above 64 KiB, kept out of the rows that are listed.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Usage",
            fields=[
                (
                    "id",
                    RowId(generated=True, primary_key=True, unique=True, db_index=True),
                ),
                ("user_id", fields.CharField(max_length=255)),
                ("session_id", fields.BigIntField()),
                ("day", fields.IntField()),
                ("processes", fields.BigIntField(default=0)),
                ("llm_calls", fields.BigIntField(default=0)),
                ("tool_calls", fields.BigIntField(default=0)),
                ("tokens_in", fields.BigIntField(default=0)),
                ("tokens_out", fields.BigIntField(default=0)),
                ("cost", fields.BigIntField(default=0)),
                ("elapsed", fields.BigIntField(default=0)),
            ],
            options={
                "table": "usage",
                "app": "core",
                "unique_together": (("user_id", "day", "session_id"),),
                "pk_attr": "id",
                "table_description": "What the processes of a session have used on one day, UTC. Outlives them.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ModelUsage",
            fields=[
                (
                    "id",
                    RowId(generated=True, primary_key=True, unique=True, db_index=True),
                ),
                ("user_id", fields.CharField(max_length=255)),
                ("session_id", fields.BigIntField()),
                ("day", fields.IntField()),
                ("model", fields.CharField(max_length=255)),
                ("calls", fields.BigIntField(default=0)),
                ("tokens_in", fields.BigIntField(default=0)),
                ("tokens_out", fields.BigIntField(default=0)),
                ("cost", fields.BigIntField(default=0)),
            ],
            options={
                "table": "model_usage",
                "app": "core",
                "unique_together": (("user_id", "day", "session_id", "model"),),
                "pk_attr": "id",
                "table_description": "What one model has replied to in a session on one day, UTC. Outlives the processes.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Stream",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        generated=True, primary_key=True, unique=True, db_index=True
                    ),
                ),
                ("name", fields.CharField(null=True, max_length=300)),
                ("last_seq", fields.BigIntField(default=0)),
                ("first_seq", fields.BigIntField(default=1)),
            ],
            options={
                "table": "stream",
                "app": "core",
                "pk_attr": "id",
                "table_description": "The counter of an append-only log, one for each session and node.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Event",
            fields=[
                (
                    "id",
                    RowId(generated=True, primary_key=True, unique=True, db_index=True),
                ),
                (
                    "stream",
                    fields.ForeignKeyField(
                        "core.Stream",
                        source_field="stream_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("seq", fields.BigIntField()),
                ("type", fields.CharField(max_length=255)),
                ("pid", fields.CharField(null=True, max_length=36)),
                ("key", fields.CharField(null=True, max_length=255)),
                ("user_id", fields.CharField(max_length=255)),
                ("payload", fields.TextField(unique=False)),
                ("created_at", fields.BigIntField()),
            ],
            options={
                "table": "event",
                "app": "core",
                "unique_together": (("stream", "seq"),),
                "pk_attr": "id",
                "table_description": "One entry of a stream. The key keeps a replayed run from telling twice.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Token",
            fields=[
                (
                    "id",
                    fields.CharField(primary_key=True, unique=True, db_index=True, max_length=36),
                ),
                ("label", fields.CharField(max_length=255)),
                ("user_id", fields.CharField(max_length=255)),
                ("role", fields.CharField(max_length=16)),
                ("digest", fields.CharField(unique=True, max_length=64)),
                ("created_at", fields.BigIntField()),
                ("expires_at", fields.BigIntField(null=True)),
                ("revoked_at", fields.BigIntField(null=True)),
            ],
            options={
                "table": "token",
                "app": "core",
                "pk_attr": "id",
                "table_description": "What a caller shows to say who it is. Only its digest is kept.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="WorkingState",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        generated=True, primary_key=True, unique=True, db_index=True
                    ),
                ),
                (
                    "session",
                    fields.ForeignKeyField(
                        "core.Session",
                        source_field="session_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("capability", fields.CharField(max_length=255)),
                ("name", fields.CharField(max_length=100)),
                ("value", fields.TextField(unique=False)),
                ("updated_at", fields.BigIntField(db_index=True)),
            ],
            options={
                "table": "working_state",
                "app": "core",
                "unique_together": (("session", "capability", "name"),),
                "pk_attr": "id",
                "table_description": "One key of what a capability keeps of a session.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ToolCall",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        primary_key=True, generated=True, unique=True, db_index=True
                    ),
                ),
                ("tool", fields.CharField(max_length=255)),
                ("status", fields.CharField(max_length=32)),
                ("started_at", fields.BigIntField()),
                ("duration", fields.BigIntField()),
            ],
            options={
                "table": "tool_call",
                "app": "core",
                "pk_attr": "id",
                "table_description": "A call of a tool that is over and not rolled up yet.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ToolWindow",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        generated=True, primary_key=True, unique=True, db_index=True
                    ),
                ),
                ("span", fields.BigIntField()),
                ("start", fields.BigIntField()),
                ("tool", fields.CharField(max_length=255)),
                ("calls", fields.BigIntField()),
                ("successes", fields.BigIntField()),
                ("failures", fields.BigIntField()),
                ("duration", fields.BigIntField()),
                ("longest", fields.BigIntField()),
                ("last_at", fields.BigIntField()),
            ],
            options={
                "table": "tool_window",
                "app": "core",
                "unique_together": (("span", "start", "tool"),),
                "pk_attr": "id",
                "table_description": "What the calls of a tool came to that began in one minute, hour or day.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SlowCall",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        primary_key=True, generated=False, unique=True, db_index=True
                    ),
                ),
                ("tool", fields.CharField(max_length=255)),
                ("started_at", fields.BigIntField(db_index=True)),
                ("duration", fields.BigIntField()),
            ],
            options={
                "table": "slow_call",
                "app": "core",
                "pk_attr": "id",
                "table_description": "One of the slowest calls of a minute.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Breaker",
            fields=[
                (
                    "tool",
                    fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255),
                ),
                ("state", fields.CharField(max_length=16)),
                ("reason", fields.CharField(max_length=500)),
                ("changed_at", fields.BigIntField()),
                ("changed_by", fields.CharField(null=True, max_length=255)),
            ],
            options={
                "table": "breaker",
                "app": "core",
                "pk_attr": "tool",
                "table_description": "The circuit breaker of a tool, where it ever left its first state.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Alarm",
            fields=[
                (
                    "process_id",
                    fields.CharField(primary_key=True, unique=True, db_index=True, max_length=36),
                ),
                ("wake_at", fields.BigIntField(db_index=True)),
            ],
            options={
                "table": "alarm",
                "app": "core",
                "pk_attr": "process_id",
                "table_description": "When a sleeping process is to be woken.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SystemUsage",
            fields=[
                (
                    "shard",
                    fields.IntField(primary_key=True, generated=False, unique=True, db_index=True),
                ),
                *((name, fields.BigIntField()) for name in USED),
            ],
            options={
                "table": "system_usage",
                "app": "core",
                "pk_attr": "shard",
                "table_description": "A part of what everybody has ever used. Triggers on usage keep it.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SystemModelUsage",
            fields=[
                (
                    "id",
                    fields.BigIntField(
                        generated=True, primary_key=True, unique=True, db_index=True
                    ),
                ),
                ("model", fields.CharField(max_length=255)),
                ("shard", fields.IntField()),
                *((name, fields.BigIntField()) for name in REPLIED),
            ],
            options={
                "table": "system_model_usage",
                "app": "core",
                "unique_together": (("model", "shard"),),
                "pk_attr": "id",
                "table_description": "A part of what a model has ever replied to. Triggers on model_usage keep it.",
            },
            bases=["Model"],
        ),
        ops.RunSQL([*PARTIAL_INDEXES, SHARD_ROWS]),
        *TOTALS,
    ]

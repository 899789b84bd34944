"""The tables. Times are microseconds since the epoch; JSON is text, the same in every database.

Every index of a table is written at every row of a turn, so those that most rows have no need of
are partial. Tortoise cannot describe these: they are SQL at the end of the first migration.

Rows are written by units in the rooms that own them; these models describe the tables to
migrations, and serve plugins and reads that are in no hurry. The first line of a model's
docstring becomes the table's comment: no quotes and no semicolons in it.
"""

# pyright: reportIncompatibleVariableOverride=false
# Each model has a `Meta` of its own: that is Tortoise's way.

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model

from .fields import RowId


class Stream(Model):
    """The counter of an append-only log, one for each session and node."""

    id = fields.BigIntField(primary_key=True)
    name = fields.CharField(max_length=300, null=True)  # unique; of a session null
    last_seq = fields.BigIntField(default=0)
    first_seq = fields.BigIntField(default=1)  # the oldest that retention has kept

    class Meta:
        table = "stream"


class Session(Model):
    """A conversation. Shares its id with its stream. Clients see public_id."""

    # Always given. Not said to be, for then SQLite would keep an index beside the table's own.
    id = RowId(primary_key=True)
    public_id = fields.CharField(max_length=263)  # one that is named after its user is so long
    user_id = fields.CharField(max_length=255)
    title = fields.CharField(max_length=500, null=True)
    capability = fields.CharField(max_length=255, null=True)
    message_count = fields.BigIntField(default=0)  # messages not deleted
    created_at = fields.BigIntField()
    last_activity = fields.BigIntField()
    deleted_at = fields.BigIntField(null=True)
    archived_at = fields.BigIntField(null=True)

    class Meta:
        table = "session"
        unique_together = (("user_id", "public_id"),)
        indexes = (Index(fields=("user_id", "last_activity", "id")),)


class Process(Model):
    """One request. The epoch fences out runs that were only asleep."""

    pid = fields.CharField(max_length=36, primary_key=True)
    session: fields.ForeignKeyRelation[Session] = fields.ForeignKeyField(
        "core.Session", related_name=False
    )
    user_id = fields.CharField(max_length=255)
    request_id = fields.CharField(max_length=255, null=True)  # where it is not the pid
    parent_pid = fields.CharField(max_length=36, null=True)
    parent_key = fields.CharField(max_length=255, null=True)  # of the step that spawned it
    depth = fields.IntField(default=0)
    capability = fields.CharField(max_length=255)
    version = fields.IntField()
    state = fields.CharField(max_length=16)
    priority = fields.CharField(max_length=16)
    stage = fields.CharField(max_length=255, null=True)
    epoch = fields.IntField(default=0)
    message = fields.TextField()
    input = fields.TextField()  # what a run reads at its start: context, provider
    quota = fields.TextField()
    outcome = fields.CharField(max_length=16, null=True)
    reason = fields.CharField(max_length=255, null=True)
    error = fields.TextField(null=True)
    message_id = fields.BigIntField()
    reply_message_id = fields.BigIntField(null=True)
    result = fields.TextField(null=True)  # a child's reply, which is no message
    llm_calls = fields.IntField(default=0)
    tool_calls = fields.IntField(default=0)
    agent_hops = fields.IntField(default=0)
    iterations = fields.IntField(default=0)
    steps = fields.IntField(default=0)
    tokens_in = fields.BigIntField(default=0)
    tokens_out = fields.BigIntField(default=0)
    cost = fields.BigIntField(default=0)  # billionths
    elapsed = fields.BigIntField(default=0)  # microseconds of running
    restarts = fields.IntField(default=0)  # since its last new step
    restarted_at = fields.IntField(default=0)  # finished steps at the last restart
    divergences = fields.IntField(default=0)  # replays that asked for other steps
    first_seq = fields.BigIntField()  # of its `process.created` event
    created_at = fields.BigIntField()
    started_at = fields.BigIntField(null=True)
    completed_at = fields.BigIntField(null=True)

    class Meta:
        table = "process"
        indexes = (Index(fields=("user_id", "pid")), Index(fields=("session_id", "pid")))


class Message(Model):
    """One message of a session, with the data that the capability attached."""

    id = fields.BigIntField(primary_key=True)
    session: fields.ForeignKeyRelation[Session] = fields.ForeignKeyField(
        "core.Session", related_name=False
    )
    pid = fields.CharField(max_length=36, null=True)
    role = fields.CharField(max_length=16)
    content = fields.TextField()
    data = fields.TextField(null=True)
    created_at = fields.BigIntField()
    edited_at = fields.BigIntField(null=True)
    deleted_at = fields.BigIntField(null=True)
    original_content = fields.TextField(null=True)

    class Meta:
        table = "message"
        indexes = (Index(fields=("session_id", "id")),)


class Step(Model):
    """One journaled effect, or a tool called outside any process."""

    id = fields.BigIntField(primary_key=True)
    process: fields.ForeignKeyNullableRelation[Process] = fields.ForeignKeyField(
        "core.Process", related_name=False, null=True
    )
    key = fields.CharField(max_length=255)
    kind = fields.CharField(max_length=16)
    name = fields.CharField(max_length=255)
    digest = fields.CharField(max_length=32)
    status = fields.CharField(max_length=16)
    attempt = fields.IntField(default=1)
    output = fields.TextField(null=True)
    error = fields.TextField(null=True)
    large = fields.BooleanField(default=False)  # the output lies in step_output
    size = fields.BigIntField(default=0)  # characters of the output
    input_changed = fields.BooleanField(default=False)  # a replay asked with another digest
    created_at = fields.BigIntField()
    duration = fields.BigIntField(default=0)  # microseconds
    tokens_in = fields.BigIntField(default=0)
    tokens_out = fields.BigIntField(default=0)
    model = fields.CharField(max_length=255, null=True)  # provider/model that replied
    cost = fields.BigIntField(default=0)  # billionths

    class Meta:
        table = "step"
        unique_together = (("process", "key"),)


class StepOutput(Model):
    """An output above 64 KiB, kept out of the rows that are listed."""

    id = fields.BigIntField(primary_key=True, generated=False)
    step: fields.ForeignKeyRelation[Step] = fields.ForeignKeyField("core.Step", related_name=False)
    body = fields.TextField()

    class Meta:
        table = "step_output"
        indexes = (Index(fields=("step_id",)),)


class ToolCall(Model):
    """A call of a tool that is over and not rolled up yet."""

    id = fields.BigIntField(primary_key=True)
    tool = fields.CharField(max_length=255)
    status = fields.CharField(max_length=32)
    started_at = fields.BigIntField()
    duration = fields.BigIntField()  # microseconds

    class Meta:
        table = "tool_call"


class ToolWindow(Model):
    """What the calls of a tool came to that began in one minute, hour or day."""

    id = fields.BigIntField(primary_key=True)
    span = fields.BigIntField()  # microseconds
    start = fields.BigIntField()
    tool = fields.CharField(max_length=255)
    calls = fields.BigIntField()
    successes = fields.BigIntField()
    failures = fields.BigIntField()  # errors and timeouts
    duration = fields.BigIntField()  # of all of them, microseconds
    longest = fields.BigIntField()
    last_at = fields.BigIntField()

    class Meta:
        table = "tool_window"
        unique_together = (("span", "start", "tool"),)


class SlowCall(Model):
    """One of the slowest calls of a minute."""

    id = fields.BigIntField(primary_key=True, generated=False)  # of its call
    tool = fields.CharField(max_length=255)
    started_at = fields.BigIntField(db_index=True)
    duration = fields.BigIntField()  # microseconds

    class Meta:
        table = "slow_call"


class Breaker(Model):
    """The circuit breaker of a tool, where it ever left its first state."""

    tool = fields.CharField(max_length=255, primary_key=True)
    state = fields.CharField(max_length=16)
    reason = fields.CharField(max_length=500)
    changed_at = fields.BigIntField()
    changed_by = fields.CharField(max_length=255, null=True)  # none: the server

    class Meta:
        table = "breaker"


class WorkingState(Model):
    """One key of what a capability keeps of a session."""

    id = fields.BigIntField(primary_key=True)
    session: fields.ForeignKeyRelation[Session] = fields.ForeignKeyField(
        "core.Session", related_name=False
    )
    capability = fields.CharField(max_length=255)
    name = fields.CharField(max_length=100)
    value = fields.TextField()
    updated_at = fields.BigIntField(db_index=True)

    class Meta:
        table = "working_state"
        unique_together = (("session", "capability", "name"),)


class Interrupt(Model):
    """A pause that needs an answer."""

    id = fields.CharField(max_length=36, primary_key=True)
    process: fields.ForeignKeyRelation[Process] = fields.ForeignKeyField(
        "core.Process", related_name=False
    )
    session: fields.ForeignKeyRelation[Session] = fields.ForeignKeyField(
        "core.Session", related_name=False
    )
    user_id = fields.CharField(max_length=255)
    key = fields.CharField(max_length=255)
    kind = fields.CharField(max_length=32)
    status = fields.CharField(max_length=16)
    question = fields.TextField()
    options = fields.TextField()
    data = fields.TextField(null=True)
    answer = fields.TextField(null=True)
    created_at = fields.BigIntField()
    expires_at = fields.BigIntField(null=True)
    resolved_at = fields.BigIntField(null=True)

    class Meta:
        table = "interrupt"
        unique_together = (("process", "key"),)
        indexes = (
            Index(fields=("process_id", "status")),
            Index(fields=("status", "expires_at")),
            Index(fields=("user_id", "status", "id")),
            Index(fields=("session_id",)),
        )


class Alarm(Model):
    """When a sleeping process is to be woken."""

    process_id = fields.CharField(max_length=36, primary_key=True)
    wake_at = fields.BigIntField(db_index=True)

    class Meta:
        table = "alarm"


class Usage(Model):
    """What the processes of a session have used on one day, UTC. Outlives them."""

    id = RowId(primary_key=True)
    user_id = fields.CharField(max_length=255)
    session_id = fields.BigIntField()
    day = fields.IntField()  # since the epoch
    processes = fields.BigIntField(default=0)
    llm_calls = fields.BigIntField(default=0)
    tool_calls = fields.BigIntField(default=0)
    tokens_in = fields.BigIntField(default=0)
    tokens_out = fields.BigIntField(default=0)
    cost = fields.BigIntField(default=0)  # billionths
    elapsed = fields.BigIntField(default=0)  # microseconds of running

    class Meta:
        table = "usage"
        unique_together = (("user_id", "day", "session_id"),)


class ModelUsage(Model):
    """What one model has replied to in a session on one day, UTC. Outlives the processes."""

    id = RowId(primary_key=True)
    user_id = fields.CharField(max_length=255)
    session_id = fields.BigIntField()
    day = fields.IntField()  # since the epoch
    model = fields.CharField(max_length=255)
    calls = fields.BigIntField(default=0)
    tokens_in = fields.BigIntField(default=0)
    tokens_out = fields.BigIntField(default=0)
    cost = fields.BigIntField(default=0)  # billionths

    class Meta:
        table = "model_usage"
        unique_together = (("user_id", "day", "session_id", "model"),)


class SystemUsage(Model):
    """A part of what everybody has ever used. Triggers on usage keep it."""

    shard = fields.IntField(primary_key=True, generated=False)  # of the session's number
    processes = fields.BigIntField()
    llm_calls = fields.BigIntField()
    tool_calls = fields.BigIntField()
    tokens_in = fields.BigIntField()
    tokens_out = fields.BigIntField()
    cost = fields.BigIntField()  # billionths
    elapsed = fields.BigIntField()  # microseconds of running

    class Meta:
        table = "system_usage"


class SystemModelUsage(Model):
    """A part of what a model has ever replied to. Triggers on model_usage keep it."""

    id = fields.BigIntField(primary_key=True)
    model = fields.CharField(max_length=255)
    shard = fields.IntField()  # of the session's number
    calls = fields.BigIntField()
    tokens_in = fields.BigIntField()
    tokens_out = fields.BigIntField()
    cost = fields.BigIntField()  # billionths

    class Meta:
        table = "system_model_usage"
        unique_together = (("model", "shard"),)


class Event(Model):
    """One entry of a stream. The key keeps a replayed run from telling twice."""

    id = RowId(primary_key=True)
    stream: fields.ForeignKeyRelation[Stream] = fields.ForeignKeyField(
        "core.Stream", related_name=False
    )
    seq = fields.BigIntField()
    type = fields.CharField(max_length=255)
    pid = fields.CharField(max_length=36, null=True)
    key = fields.CharField(max_length=255, null=True)
    user_id = fields.CharField(max_length=255)
    payload = fields.TextField()
    created_at = fields.BigIntField()

    class Meta:
        table = "event"
        unique_together = (("stream", "seq"),)


class Token(Model):
    """What a caller shows to say who it is. Only its digest is kept."""

    id = fields.CharField(max_length=36, primary_key=True)
    label = fields.CharField(max_length=255)
    user_id = fields.CharField(max_length=255)
    role = fields.CharField(max_length=16)
    digest = fields.CharField(max_length=64, unique=True)
    created_at = fields.BigIntField()
    expires_at = fields.BigIntField(null=True)
    revoked_at = fields.BigIntField(null=True)

    class Meta:
        table = "token"

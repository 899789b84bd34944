"""`/metrics`: the server in numbers, as Prometheus reads them.

Nothing in it is a user's: names of tools, states and sums. Where the server wants tokens, any that
is valid will do, as for `/api/v1/metrics`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..core.llm.breaker import ProviderState
from ..core.node import Node
from ..core.storage.database import Database
from ..core.timings import Histogram
from ..core.tools.breaker import BreakerState
from ..core.tower.metrics import TowerSample, take_sample
from ..core.tower.model_usage import ModelUsage, usage_by_model
from .state import state_of

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily, Metric


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """What was read for one scrape; `collect` makes it into Prometheus' families."""

    node: Node
    sample: TowerSample
    models: Sequence[ModelUsage]

    def collect(self) -> Iterator[Metric]:
        yield from self._tower()
        yield from self._models()
        yield from self._timings()
        yield from self._tools()
        yield from self._events()

    def _tower(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counts = self.sample.metrics
        processes = GaugeMetricFamily("mission_processes", "Processes by state.", labels=["state"])
        for state, count in sorted(counts.processes_by_state.items()):
            processes.add_metric([state], count)
        yield processes
        yield CounterMetricFamily(
            "mission_requests", "Processes ever submitted.", value=counts.total_processes
        )
        yield GaugeMetricFamily(
            "mission_queue_depth", "Processes in line on this node.", value=self.sample.in_line
        )
        yield GaugeMetricFamily(
            "mission_running", "Processes at work on this node.", value=self.sample.running
        )
        tokens = CounterMetricFamily("mission_tokens", "Tokens of LLM calls.", labels=["direction"])
        tokens.add_metric(["in"], counts.system_tokens_in)
        tokens.add_metric(["out"], counts.system_tokens_out)
        yield tokens
        yield CounterMetricFamily("mission_llm_calls", "LLM calls.", value=counts.system_llm_calls)

    def _models(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        cost = CounterMetricFamily(
            "mission_llm_cost_micros",
            "What replies have cost, in millionths of the price table's currency.",
            labels=["model"],
        )
        for model in self.models:
            cost.add_metric([model.model], model.cost * 1_000_000)
        yield cost
        states = GaugeMetricFamily(
            "mission_provider_breaker",
            "1 for the state that the LLM provider's circuit breaker has.",
            labels=["provider", "state"],
        )
        for breaker in self.node.runtime.provider_breakers():
            for state in ProviderState:
                states.add_metric([breaker.provider, state.value], int(breaker.state is state))
        yield states

    def _timings(self) -> Iterator[Metric]:
        timings = self.node.runtime.timings
        yield _histogram(
            "mission_turn_seconds", "From a request's submission to its end.", {"": timings.turns}
        )
        yield _histogram(
            "mission_queue_wait_seconds", "From submission to the first run.", {"": timings.waits}
        )
        yield _histogram(
            "mission_step_seconds", "The work of a step.", dict(timings.steps), label="kind"
        )

    def _tools(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        breakers = self.node.runtime.breakers
        calls = CounterMetricFamily(
            "mission_tool_calls",
            "Calls of tools since the start, by outcome.",
            labels=["tool", "status"],
        )
        for (tool, status), count in sorted(breakers.outcomes.items()):
            calls.add_metric([tool, status.value], count)
        yield calls
        states = GaugeMetricFamily(
            "mission_tool_breaker",
            "1 for the state that the tool's circuit breaker has.",
            labels=["tool", "state"],
        )
        for breaker in self.node.governor.all():
            for state in BreakerState:
                states.add_metric([breaker.tool, state.value], int(breaker.state is state))
        yield states

    def _events(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        followers = self.node.followers
        yield GaugeMetricFamily(
            "mission_subscriptions", "Followers of streams of events.", value=followers.count
        )
        yield _histogram(
            "mission_event_lag_seconds", "From an event to its followers.", {"": followers.lag}
        )
        written = self.node.database.written if isinstance(self.node.database, Database) else None
        if written is not None:
            commits, units = written
            yield CounterMetricFamily("mission_writer_commits", "Commits.", value=commits)
            yield CounterMetricFamily(
                "mission_writer_units", "Units of work in these commits.", value=units
            )


async def metrics(request: Request) -> Response:
    """Everything, as it is now."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    state = state_of(request)
    if state.auth.required:
        await state.auth.caller(request)
    node = state.node
    registry = CollectorRegistry(auto_describe=False)
    sample = await take_sample(node.database, node.tower.depth)
    # All of them: a series that is left out for a while would seem to begin anew.
    models = await usage_by_model(node.database, most=sys.maxsize)
    registry.register(Collected(node, sample, models))
    encode, media = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media, "Vary": "Accept"})


def _histogram(
    name: str, text: str, found: dict[str, Histogram], label: str | None = None
) -> HistogramMetricFamily:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, text, labels=[label] if label else [])
    for value, histogram in sorted(found.items()):
        family.add_metric([value] if label else [], histogram.cumulative(), histogram.total)
    return family


routes = [Route("/metrics", metrics)]

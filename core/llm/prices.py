"""What calls of models cost, by the table of the settings."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from .provider import LLMUsage

UNIT = 1_000_000_000
"""Costs are counted in billionths of the table's currency, so that sums are exact."""


class Price(BaseModel):
    """For a million tokens, in whatever currency the table is written in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(default=0, ge=0, le=1_000_000)
    output: float = Field(default=0, ge=0, le=1_000_000)


Prices = Mapping[str, Price]
"""By `provider/model`; `provider/*` is every other model of that provider."""


def cost_of(prices: Prices, model: str, usage: LLMUsage) -> int:
    """Billionths; 0 for a model that has no price."""
    provider, _, _ = model.partition("/")
    price = prices.get(model) or prices.get(f"{provider}/*")
    if price is None:
        return 0
    per_token = UNIT // 1_000_000
    return round((usage.tokens_in * price.input + usage.tokens_out * price.output) * per_token)

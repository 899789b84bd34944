from __future__ import annotations

import pytest

from mission_system.core.llm.prices import Price, cost_of
from mission_system.core.llm.provider import LLMUsage

PRICES = {"acme/big": Price(input=3, output=15), "acme/*": Price(input=0.2, output=0.75)}


@pytest.mark.parametrize(
    ("model", "billionths"),
    [
        ("acme/big", 1000 * 3000 + 10 * 15_000),
        ("acme/small", 1000 * 200 + 10 * 750),
        ("other/big", 0),
        ("", 0),
    ],
)
def test_cost_is_by_model_else_by_provider_else_nothing(model: str, billionths: int) -> None:
    assert cost_of(PRICES, model, LLMUsage(1000, 10)) == billionths

"""Who may run which tool: a pure decision from rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..tools.spec import ToolSpec

Decision = Literal["allow", "confirm", "deny"]
Name = Annotated[str, Field(min_length=1, max_length=255)]
EVERY_TOOL = "*"


class ToolRule(BaseModel):
    """Decides for the calls that it names; what it does not name may be any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: Name | None = None
    capability: Name | None = None
    tool: Name | None = None
    decision: Decision

    @property
    def scope(self) -> tuple[str | None, str | None, str | None]:
        return self.user, self.capability, self.tool

    def covers(self, user: str, capability: str, tool: str) -> bool:
        named = zip(self.scope, (user, capability, tool), strict=True)
        return all(want is None or want == is_ for want, is_ in named)

    @property
    def weight(self) -> tuple[int, ...]:
        """How specific it is: the more it names the more; then user, capability, tool."""
        named = tuple(part is not None for part in self.scope)
        return (sum(named), *named)


def _each_scope_once(rules: tuple[ToolRule, ...]) -> tuple[ToolRule, ...]:
    seen: dict[tuple[str | None, ...], int] = {}
    for number, rule in enumerate(rules):
        earlier = seen.setdefault(rule.scope, number)
        if earlier != number:
            raise ValueError(
                f"rules {earlier} and {number} are for the same calls"
                f" ({rule.model_dump_json(exclude_none=True, exclude={'decision'})}); keep one"
            )
    return rules


ToolRules = Annotated[tuple[ToolRule, ...], AfterValidator(_each_scope_once)]


def decide(
    rules: Sequence[ToolRule],
    of_capability: Mapping[str, Decision],
    tool: ToolSpec,
    *,
    user: str,
    capability: str,
) -> Decision:
    """What holds for one call: the most specific rule that covers it; else what the capability
    says of the tool, or of every tool; else a confirmation unless the tool is read-only."""
    covering = [rule for rule in rules if rule.covers(user, capability, tool.name)]
    if covering:
        return max(covering, key=lambda rule: rule.weight).decision
    said = of_capability.get(tool.name) or of_capability.get(EVERY_TOOL)
    return said or ("allow" if tool.risk == "read_only" else "confirm")


def check_decisions(capability: str, decisions: Mapping[str, str]) -> None:
    """Raises ValueError naming a decision that is none."""
    for tool, decision in decisions.items():
        if decision not in get_args(Decision):
            choices = ", ".join(get_args(Decision))
            raise ValueError(
                f"capability '{capability}': tool_policy says {decision!r} of '{tool}', expected"
                f" one of: {choices}"
            )

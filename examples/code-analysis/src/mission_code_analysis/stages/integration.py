"""Integration: the reply, and the report where one was asked for."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mission_system import Declined, InterruptExpired, Reply, ToolFailed

from ..results import Report
from .draft import Draft
from .intent import Intent

if TYPE_CHECKING:
    from mission_system import Mission


async def integrate(mission: Mission, intent: Intent, draft: Draft) -> Reply:
    """The reply: its text, and as data the citations that the text makes."""
    data: dict[str, Any] = {"citations": [asdict(each) for each in draft.citations.values()]}
    if not intent.report:
        return Reply(draft.text, data)
    text = f"# {intent.report}\n\n{draft.text}\n"
    try:
        # The tool's risk is `write`, so the platform asks the user before it runs.
        report: Report = await mission.tools.write_report(name=file_name(intent.report), text=text)
    except (Declined, InterruptExpired):
        lead = "Nobody agreed to it, so no report was written. It would have said:"
    except ToolFailed as error:
        lead = f"The report could not be written ({error.message}). It would have said:"
    else:
        lead = f"The report is in `{report.path}`:"
        data["report"] = report.path
    return Reply(f"{lead}\n\n{draft.text}", data)


def file_name(topic: str) -> str:
    """A topic as a name that `write_report` takes."""
    words = re.findall(r"[a-z0-9]+", topic.lower())
    return "-".join(words)[:60].strip("-") or "report"

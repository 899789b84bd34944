"""Answers questions about a source tree, with citations that were checked."""

from __future__ import annotations

from mission_system import OrchestratorSpec, PluginContext, ToolSpec, hookimpl

from .config import CodeAnalysisConfig
from .orchestrator import answer
from .source.tree import SourceTree
from .tools import make_tools

__all__ = ["CodeAnalysisConfig", "answer", "make_tools"]

mission_api = 1


@hookimpl
def register_tools(context: PluginContext) -> list[ToolSpec]:
    tree = SourceTree(CodeAnalysisConfig())
    context.logger.info("code_analysis.root", root=str(tree.root))
    return make_tools(tree)


@hookimpl
def register_configs() -> dict[str, object]:
    return {"code-analysis": CodeAnalysisConfig()}


@hookimpl
def register_orchestrators() -> list[OrchestratorSpec]:
    return [
        OrchestratorSpec(
            "code-analysis",
            answer,
            description="Where is it defined, who uses it, what is in it: with file and line.",
        )
    ]

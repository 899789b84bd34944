"""Installed plugins: found, loaded one by one, and reported when they cannot be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from mission_system.core.settings import Settings
from mission_system.plugins import loader
from mission_system.plugins.hookspecs import hookimpl
from mission_system.plugins.host import PluginHost
from mission_system.plugins.loader import load_plugins
from mission_system.plugins.report import PluginReport, PluginStatus

Install = Callable[..., str]

GOOD = '''
    from mission_system import OrchestratorSpec, Prompt, hookimpl, tool

    @tool
    def search_docs(query: str) -> list[str]:
        """Find passages."""
        return []

    async def answer(mission):
        return "found"

    @hookimpl
    def register_tools(context):
        return [search_docs]

    @hookimpl
    def register_configs(context):
        return {"docs_config": context.distribution}

    @hookimpl
    def register_prompts(context):
        return [Prompt("docs_writer", "Write of $topic."), Prompt("docs_writer", "Of", version=2)]

    @hookimpl
    def register_orchestrators(context):
        return [OrchestratorSpec("docs", answer), OrchestratorSpec("docs", answer, version=2)]

    @hookimpl
    def register_llm_providers(context):
        return {"docs_model": lambda settings: None}
'''


def report_on(host: PluginHost, name: str, distribution: str | None = None) -> PluginReport:
    [report] = [
        report
        for report in host.reports
        if report.name == name and distribution in (None, report.distribution)
    ]
    return report


def assert_docs_are_served(host: PluginHost) -> None:
    assert report_on(host, "docs").status is PluginStatus.LOADED
    assert host.tools.get("search_docs") is not None


def test_an_installed_plugin_serves_all_that_it_offers(
    install: Install, settings: Settings
) -> None:
    install("acme-docs", GOOD, version="1.2.0")
    host = load_plugins(settings)
    assert report_on(host, "docs") == PluginReport(
        name="docs",
        distribution="acme-docs",
        version="1.2.0",
        status=PluginStatus.LOADED,
        tools=("search_docs",),
        configs=("docs_config",),
        prompts=("docs_writer",),
        orchestrators=("docs",),
        llm_providers=("docs_model",),
    )
    assert host.tools.get("search_docs") is not None
    assert host.tools.owner("search_docs") == "acme-docs 1.2.0"
    assert host.configs.get("docs_config") == "acme-docs"
    assert [each.version for each in host.prompts if each.name == "docs_writer"] == [1, 2]
    versions = [spec.version for spec in host.orchestrators if spec.name == "docs"]
    assert versions == [1, 2]
    assert "docs_model" in host.llm_providers


def test_the_first_party_plugin_is_found_like_any_other(settings: Settings) -> None:
    host = load_plugins(settings)
    report = report_on(host, "assistant")
    assert (report.distribution, report.status) == ("mission-system", PluginStatus.LOADED)
    assert report.orchestrators == ("assistant",)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("1 / 0", "ZeroDivisionError: division by zero (acme_broken.py, line 1)"),
        ("def :", "SyntaxError"),
        ("raise SystemExit('good-bye')", "SystemExit: good-bye"),
        ("class Stop(BaseException): ...\nraise Stop", "Stop (acme_broken.py, line 2)"),
    ],
)
def test_broken_import_does_not_stop_others(
    install: Install, settings: Settings, source: str, reason: str
) -> None:
    install("acme-broken", source)
    install("acme-docs", GOOD)
    host = load_plugins(settings)
    report = report_on(host, "broken")
    assert report.status is PluginStatus.FAILED
    assert report.reason is not None
    assert report.reason.startswith("importing acme_broken raised ")
    assert reason in report.reason
    assert report.fix is not None
    assert 'python -c "import acme_broken"' in report.fix
    assert_docs_are_served(host)


def test_an_interrupt_from_the_keyboard_is_not_taken_for_a_broken_plugin(
    install: Install, settings: Settings
) -> None:
    install("acme-slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_plugins(settings)


def test_an_entry_point_that_names_nothing_is_reported(
    install: Install, settings: Settings
) -> None:
    install("acme-docs", GOOD)
    install("acme-gone", "", entry_points={"gone": "acme_gone:plugin"})
    install("acme-lost", "", entry_points={"lost": "acme_lots"})
    install("acme-odd", "", entry_points={"odd": "no module!"})
    host = load_plugins(settings)
    gone = report_on(host, "gone")
    assert gone.reason == (
        "its entry point is acme_gone:plugin, and module 'acme_gone' has no attribute 'plugin'."
    )
    assert gone.fix == "Correct what the entry point names, and reinstall acme-gone."
    assert "No module named 'acme_lots'" in str(report_on(host, "lost"))
    assert report_on(host, "odd").status is PluginStatus.FAILED
    assert_docs_are_served(host)


def test_a_misspelled_hook_is_reported_with_the_hook_that_was_meant(
    install: Install, settings: Settings
) -> None:
    install(
        "acme-typo",
        """
        from mission_system import hookimpl

        @hookimpl
        def register_tolls(context): return []
        """,
    )
    report = report_on(load_plugins(settings), "typo")
    assert report.status is PluginStatus.FAILED
    assert report.reason == "register_tolls() is no hook of this server."
    assert report.fix is not None
    assert report.fix.startswith("Did you mean register_tools(context)?")


def test_a_hook_of_a_later_server_may_be_marked_optional(
    install: Install, settings: Settings
) -> None:
    install(
        "acme-ahead",
        """
        from mission_system import hookimpl

        @hookimpl(optionalhook=True)
        def register_holograms(context): return []

        @hookimpl
        def register_configs(context): return {"ahead": 1}
        """,
    )
    assert report_on(load_plugins(settings), "ahead").configs == ("ahead",)


def test_a_raising_hook_costs_its_plugin_everything_and_others_nothing(
    install: Install, settings: Settings
) -> None:
    install(
        "acme-half",
        """
        from mission_system import hookimpl

        @hookimpl
        def register_configs(context): return {"half": 1}

        @hookimpl
        def register_llm_providers(context): raise KeyError("url")
        """,
    )
    install("acme-docs", GOOD)
    host = load_plugins(settings)
    report = report_on(host, "half")
    assert report.status is PluginStatus.FAILED
    assert report.reason == (
        "register_llm_providers() raised KeyError: 'url' (acme_half.py, line 8)."
    )
    assert report.configs == ()
    assert list(host.configs) == ["docs_config"]
    assert_docs_are_served(host)


def test_an_error_that_the_server_raises_names_the_line_of_the_plugin(
    install: Install, settings: Settings
) -> None:
    install(
        "acme-chat",
        """
        from mission_system import OrchestratorSpec, hookimpl

        async def answer(mission): ...

        @hookimpl
        def register_orchestrators(context):
            return [
                OrchestratorSpec("chat", answer),
            ]
        """,
    )
    reason = report_on(load_plugins(settings), "chat").reason
    assert reason is not None
    assert "its events would pass for the server's own" in reason
    assert reason.endswith("(acme_chat.py, line 9).")


CLASHES = {
    "tool": """
        @hookimpl
        def register_tools(context):
            return [tool(name="search_docs", description="Mine.")(lambda: None)]
    """,
    "config": """
        @hookimpl
        def register_configs(context): return {"docs_config": None}
    """,
    "orchestrator": """
        @hookimpl
        def register_orchestrators(context):
            async def answer(mission): ...
            return [OrchestratorSpec("docs", answer, version=3)]
    """,
    "llm provider": """
        @hookimpl
        def register_llm_providers(context): return {"docs_model": print}
    """,
}


@pytest.mark.parametrize("what", CLASHES)
def test_a_clash_names_both_distributions_and_the_first_is_served(
    install: Install, settings: Settings, what: str
) -> None:
    install("acme-docs", GOOD, version="1.2.0")
    header = "        from mission_system import OrchestratorSpec, hookimpl, tool\n"
    install("acme-rival", header + CLASHES[what], version="0.3")
    host = load_plugins(settings)
    report = report_on(host, "rival")
    assert report.status is PluginStatus.FAILED
    assert report.reason is not None
    assert report.reason.startswith(f"{what} '")
    assert report.reason.endswith(
        " of plugin 'rival' (acme-rival 0.3) is already registered by plugin 'docs'"
        " (acme-docs 1.2.0), which loaded first."
    )
    assert report.fix is not None
    assert "MISSION_DISABLED_PLUGINS=rival" in report.fix
    assert_docs_are_served(host)
    assert len(host.tools) == 1
    assert list(host.configs) == ["docs_config"]


def test_an_entry_point_name_belongs_to_one_distribution(
    install: Install, settings: Settings
) -> None:
    install("acme-docs", GOOD)
    install("zeta-docs", "import no_such_library", entry_points={"docs": "zeta_docs"})
    host = load_plugins(settings)
    assert report_on(host, "docs", "acme-docs").status is PluginStatus.LOADED
    second = report_on(host, "docs", "zeta-docs")
    assert second.status is PluginStatus.FAILED
    assert second.reason == (
        "the plugin name 'docs' of zeta-docs 1.0 is taken by acme-docs 1.0, which loaded first."
    )


def test_plugins_load_in_the_same_order_whatever_was_installed_first(
    install: Install, settings: Settings
) -> None:
    source = """
        from mission_system import hookimpl

        @hookimpl
        def register_configs(context): return {{"{0}": 1}}
    """
    for name in ("zebra", "apple", "mango"):
        install(f"acme-{name}", source.format(name))
    host = load_plugins(settings, [SimpleNamespace(__name__="own", **hooks(own=1))])
    names = [report.name for report in host.reports]
    # Other distributions with plugins may be installed where the tests run.
    own = [r.name for r in host.reports if r.distribution == "mission-system"]
    assert names[: 1 + len(own)] == ["own", *sorted(own)]
    assert names[1 + len(own) :] == sorted(names[1 + len(own) :])
    assert list(host.configs) == ["own", "apple", "mango", "zebra"]


def test_a_disabled_plugin_is_not_even_imported(install: Install) -> None:
    install("acme-broken", "raise RuntimeError('imported')")
    install("acme-docs", GOOD)
    host = load_plugins(Settings(disabled_plugins=("broken",)))
    report = report_on(host, "broken")
    assert report.status is PluginStatus.DISABLED
    assert report.reason == "it is disabled by the setting disabled_plugins."
    assert_docs_are_served(host)


def test_an_operator_disables_plugins_by_the_environment(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-docs", GOOD)
    monkeypatch.setenv("MISSION_DISABLED_PLUGINS", "docs,assistant")
    host = load_plugins(Settings())
    assert report_on(host, "docs").status is PluginStatus.DISABLED
    assert report_on(host, "assistant").status is PluginStatus.DISABLED
    assert host.orchestrators == ()


def test_disabling_what_is_not_installed_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "log", structlog.get_logger())
    with structlog.testing.capture_logs() as lines:
        load_plugins(Settings(disabled_plugins=("wheather",)))
    [line] = [line for line in lines if line["event"] == "plugin.disabled_unknown"]
    assert line["unknown"] == ["wheather"]
    assert "assistant" in line["plugins"]


@pytest.mark.parametrize(
    ("wanted", "fix"),
    [
        (2, "a release of acme-old that is made for plugin API 1, or upgrade mission-system."),
        (0, "a release of acme-old that is made for plugin API 1."),
    ],
)
def test_a_plugin_for_another_api_is_incompatible(
    install: Install, settings: Settings, wanted: int, fix: str
) -> None:
    install("acme-old", f"mission_api = {wanted}")
    install("acme-docs", f"mission_api = 1\n{GOOD.replace(chr(10) + '    ', chr(10))}")
    host = load_plugins(settings)
    report = report_on(host, "old")
    assert report.status is PluginStatus.INCOMPATIBLE
    assert report.reason == f"it is made for plugin API {wanted}; this server has 1."
    assert report.fix is not None
    assert report.fix.endswith(fix)
    assert_docs_are_served(host)


def test_an_api_that_is_no_number_is_a_mistake(install: Install, settings: Settings) -> None:
    install("acme-text", "mission_api = '>=1'")
    report = report_on(load_plugins(settings), "text")
    assert report.status is PluginStatus.FAILED
    assert report.reason == "mission_api is '>=1', expected an integer."


def test_an_unreadable_distribution_does_not_hide_the_others(
    install: Install, site: Path, settings: Settings
) -> None:
    install("acme-docs", GOOD)
    install("acme-torn", "")
    (site / "acme_torn-1.0.dist-info" / "entry_points.txt").write_text("[mission_system]\ntorn")
    host = load_plugins(settings)
    report = report_on(host, "acme-torn")
    assert report.status is PluginStatus.FAILED
    assert report.reason is not None
    assert report.reason.startswith("its entry_points.txt cannot be read: ")
    assert_docs_are_served(host)


def test_a_plugin_without_metadata_is_served_all_the_same(
    install: Install, site: Path, settings: Settings
) -> None:
    install("acme-docs", GOOD)
    (site / "acme_docs-1.0.dist-info" / "METADATA").unlink()
    host = load_plugins(settings)
    assert report_on(host, "docs").distribution == "unnamed distribution"
    assert_docs_are_served(host)


def test_of_two_installations_of_one_distribution_the_importable_one_counts(
    install: Install, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-docs", GOOD, version="1.0")
    later = tmp_path / "later"
    shadowed = later / "acme_docs-0.9.dist-info"
    shadowed.mkdir(parents=True)
    (shadowed / "METADATA").write_text("Metadata-Version: 2.1\nName: Acme.Docs\nVersion: 0.9\n")
    (shadowed / "entry_points.txt").write_text("[mission_system]\ndocs = acme_docs\n")
    monkeypatch.setattr("sys.path", [str(site), str(later), *sys.path])
    assert report_on(load_plugins(Settings()), "docs").version == "1.0"


def hooks(**configs: object) -> dict[str, object]:
    @hookimpl
    def register_configs() -> dict[str, object]:
        return configs

    return {"register_configs": register_configs}


def test_two_hosts_in_one_process_do_not_see_each_other_s_plugins(settings: Settings) -> None:
    first = load_plugins(
        settings, [SimpleNamespace(__name__="one", **hooks(one=1))], entry_points=False
    )
    second = load_plugins(
        settings, [SimpleNamespace(__name__="two", **hooks(two=2))], entry_points=False
    )
    assert (list(first.configs), list(second.configs)) == (["one"], ["two"])
    assert [report.name for report in first.reports] == ["one"]
    assert [report.name for report in second.reports] == ["two"]


def test_without_entry_points_only_the_given_plugins_load(settings: Settings) -> None:
    assert load_plugins(settings, entry_points=False).reports == ()


def test_a_given_plugin_has_no_distribution_and_comes_before_the_installed(
    install: Install, settings: Settings
) -> None:
    install("acme-docs", GOOD)
    own = SimpleNamespace(__name__="own", **hooks(docs_config="own"))
    host = load_plugins(settings, [own])
    assert report_on(host, "own").distribution is None
    assert host.configs.get("docs_config") == "own"
    assert "is already registered by plugin 'own' (given by the program)" in str(
        report_on(host, "docs")
    )


def test_a_report_reads_as_what_where_and_what_to_do() -> None:
    report = PluginReport(
        name="weather",
        distribution="acme-weather",
        version="1.2.0",
        status=PluginStatus.FAILED,
        reason="register_tools() returned str, expected ToolSpec.",
        fix="Return a list.",
    )
    assert str(report) == (
        "Plugin 'weather' (acme-weather 1.2.0): register_tools() returned str, expected ToolSpec.\n"
        "Return a list."
    )

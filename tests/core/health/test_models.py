import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from mission_system.core.health.models import models_check
from mission_system.core.health.result import ComponentHealth
from mission_system.core.llm.credentials import Credentials

AZURE = {
    "AZURE_OPENAI_ENDPOINT": "https://example.test",
    "AZURE_OPENAI_API_KEY": "k",
    "AZURE_OPENAI_DEPLOYMENT": "d",
}


async def check(provider: str, environ: dict[str, str], served: bool = True) -> ComponentHealth:
    credentials = Credentials.model_validate({k.lower(): v for k, v in environ.items()})
    return await models_check({"default": [provider]}, lambda _: served, lambda: credentials)()


@contextmanager
def llama_server(status: int, body: str, models: str | None = None) -> Iterator[str]:
    """`models` is what it has under `/v1/models`, for those who know the key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, said = status, body
            if self.path != "/health":
                code, said = (404, "") if models is None else (200, models)
                if models is not None and self.headers["Authorization"] != "Bearer k":
                    code = 401
            self.send_response(code)
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_the_mock_is_always_up() -> None:
    assert (await check("mock", {}, served=False)).status == "up"


@pytest.mark.parametrize(
    ("provider", "environ"),
    [
        ("openai", {"OPENAI_API_KEY": "k"}),
        ("anthropic", {"ANTHROPIC_API_KEY": "k"}),
        ("azure", AZURE),
    ],
)
async def test_a_provider_is_up_when_all_it_needs_is_set(
    provider: str, environ: dict[str, str]
) -> None:
    assert (await check(provider, environ)).status == "up"
    for name in environ:
        health = await check(provider, {**environ, name: ""})
        assert health.status == "down"
        assert name in (health.message or "")


async def test_a_provider_whose_libraries_are_not_installed_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    health = await check("azure", AZURE)
    assert health.status == "down"
    assert "pip install 'mission-system[openai]'" in str(health.message)
    assert (await check("anthropic", {"ANTHROPIC_API_KEY": "k"})).status == "up"


async def test_a_key_is_never_shown() -> None:
    health = await check("azure", {"AZURE_OPENAI_API_KEY": "s3cret"})
    assert "s3cret" not in health.model_dump_json()


async def test_a_provider_that_nothing_makes_is_down() -> None:
    assert (await check("openai", {"OPENAI_API_KEY": "k"}, served=False)).status == "down"


async def test_a_provider_of_a_plugin_is_up() -> None:
    assert (await check("acme", {}, served=True)).status == "up"


async def test_an_unknown_provider_is_degraded() -> None:
    health = await check("acme", {}, served=False)
    assert (health.status, health.message) == ("degraded", "unknown provider 'acme'")


async def test_llamacpp_needs_its_model_file(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    assert (await check("llamacpp", {"LLAMACPP_MODEL_PATH": str(model)})).status == "down"
    model.write_bytes(b"GGUF")
    assert (await check("llamacpp", {"LLAMACPP_MODEL_PATH": str(model)})).status == "up"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, json.dumps({"status": "ok"}), "up"),
        (200, json.dumps({"status": "loading model"}), "degraded"),
        (200, "<html>", "down"),
        (200, json.dumps(["ok"]), "down"),
        (503, json.dumps({"status": "ok"}), "down"),
    ],
)
async def test_a_llama_server_is_asked_for_its_health(
    status: int, body: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with llama_server(status, body) as url:
        assert (await check("llamaserver", {"LLAMASERVER_HOST": url})).status == expected


@pytest.mark.parametrize(
    ("status", "health", "models", "expected"),
    [
        (404, "404 page not found", '{"object": "list", "data": []}', "up"),  # Ollama
        (200, "", '{"object": "list", "data": [{"id": "m"}]}', "up"),  # vLLM
        (200, '{"error": "Unexpected endpoint"}', '{"data": []}', "up"),  # LM Studio
        (404, "", None, "down"),
        (404, "", "<html>", "down"),
        (500, "", '{"data": []}', "down"),
        (200, '{"status": "loading model"}', '{"data": []}', "degraded"),
    ],
)
async def test_a_server_without_such_a_health_is_up_when_it_lists_its_models(
    status: int, health: str, models: str | None, expected: str
) -> None:
    with llama_server(status, health, models) as url:
        environ = {"LLAMASERVER_HOST": url, "LLAMASERVER_API_KEY": "k"}
        assert (await check("llamaserver", environ)).status == expected


async def test_a_server_that_does_not_take_the_key_is_down() -> None:
    with llama_server(404, "", '{"data": []}') as url:
        assert (await check("llamaserver", {"LLAMASERVER_HOST": url})).status == "down"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "file:///etc/passwd", "nonsense"])
async def test_a_llama_server_that_is_not_there_is_down(url: str) -> None:
    assert (await check("llamaserver", {"LLAMASERVER_HOST": url})).status == "down"


@pytest.mark.parametrize(
    ("uses", "expected", "says"),
    [
        ({"default": ["mock"], "writer": ["openai"]}, "up", None),
        ({"default": ["mock"], "writer": ["openai", "anthropic"]}, "degraded", "ANTHROPIC_API_KEY"),
        ({"default": ["anthropic", "openai"]}, "degraded", "ANTHROPIC_API_KEY"),
        ({"default": ["openai"], "writer": ["anthropic", "azure"]}, "down", "ANTHROPIC_API_KEY"),
        ({"default": ["anthropic", "acme"]}, "degraded", "unknown provider"),
    ],
)
async def test_the_worst_role_counts_and_a_fallback_keeps_one_from_being_down(
    uses: dict[str, list[str]], expected: str, says: str | None
) -> None:
    credentials = Credentials(openai_api_key=SecretStr("k"))
    health = await models_check(uses, lambda name: name != "acme", lambda: credentials)()
    assert health.status == expected
    assert (says or "") in (health.message or "")

"""What loads each provider of real models.

Their libraries are imported in here and nowhere else. Retries are the mission's, which journals
them: the vendors' own are off.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LLMError
from .credentials import Credentials

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from pydantic_ai.providers import Provider

    from .llamacpp import LlamaCppProvider
    from .pydantic_ai import PydanticAIProvider

OPENAI_MODEL = "gpt-6-luna"
ANTHROPIC_MODEL = "claude-haiku-5-5"
LLAMASERVER_MODEL = "default"  # llama-server serves one model, under any name


def load_openai(credentials: Credentials) -> PydanticAIProvider:
    from openai import AsyncOpenAI
    from pydantic_ai.providers.openai import OpenAIProvider

    key = credentials.openai_api_key
    client = AsyncOpenAI(
        api_key=key.get_secret_value() if key else None,
        base_url=credentials.openai_base_url,
        max_retries=0,
    )
    vendor = OpenAIProvider(openai_client=client)
    return _chat("openai", OPENAI_MODEL, vendor)


def load_anthropic(credentials: Credentials) -> PydanticAIProvider:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    from .pydantic_ai import PydanticAIProvider

    key = credentials.anthropic_api_key
    client = AsyncAnthropic(
        api_key=key.get_secret_value() if key else None,
        base_url=credentials.anthropic_base_url,
        max_retries=0,
    )
    vendor = AnthropicProvider(anthropic_client=client)
    return PydanticAIProvider(
        "anthropic",
        ANTHROPIC_MODEL,
        lambda name: AnthropicModel(name, provider=vendor),
        client.close,
    )


def load_azure(credentials: Credentials) -> PydanticAIProvider:
    from openai import AsyncAzureOpenAI
    from pydantic_ai.providers.azure import AzureProvider

    key = credentials.azure_openai_api_key
    client = AsyncAzureOpenAI(
        api_key=key.get_secret_value() if key else None,
        azure_endpoint=credentials.azure_openai_endpoint or "",
        api_version=credentials.openai_api_version,
        max_retries=0,
    )
    vendor = AzureProvider(openai_client=client)
    return _chat("azure", credentials.azure_openai_deployment or "", vendor)


def load_llamaserver(credentials: Credentials) -> PydanticAIProvider:
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    key = credentials.llamaserver_api_key
    client = AsyncOpenAI(
        api_key=key.get_secret_value() if key else "none",
        base_url=f"{credentials.llamaserver_host.rstrip('/')}/v1",
        max_retries=0,
        # A proxy for the internet does not know this machine, and readiness does not ask it either.
        http_client=DefaultAsyncHttpxClient(trust_env=False),
    )
    vendor = OpenAICompatibleProvider("llamaserver", openai_client=client)
    return _chat("llamaserver", LLAMASERVER_MODEL, vendor)


def load_llamacpp(credentials: Credentials) -> LlamaCppProvider:
    from .llamacpp import LlamaCppProvider

    path = Path(credentials.llamacpp_model_path or "")
    if not path.is_file():
        raise LLMError("unavailable", "LLAMACPP_MODEL_PATH names no file", provider="llamacpp")
    return LlamaCppProvider(path, credentials.llamacpp_context, credentials.llamacpp_parallel)


def _chat(name: str, default: str, vendor: Provider[AsyncOpenAI]) -> PydanticAIProvider:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile

    from .pydantic_ai import PydanticAIProvider

    # Else a stream that is cut between two events would pass for a whole reply.
    profile = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
    return PydanticAIProvider(
        name,
        default,
        lambda model: OpenAIChatModel(model, provider=vendor, profile=profile),
        vendor.client.close,
    )

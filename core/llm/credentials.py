"""Where models are, and what opens them: the names that everybody's tools use, without prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ..errors import LLMError


class Credentials(BaseSettings):
    """Read from the environment or `.env`, upper case: `OPENAI_API_KEY` is `openai_api_key`."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    openai_api_key: SecretStr | None = Field(default=None, description="Key of `openai`.")
    openai_base_url: str | None = Field(
        default=None, description="Where `openai` is, if not at OpenAI itself."
    )
    anthropic_api_key: SecretStr | None = Field(default=None, description="Key of `anthropic`.")
    anthropic_base_url: str | None = Field(
        default=None, description="Where `anthropic` is, if not at Anthropic itself."
    )
    azure_openai_endpoint: str | None = Field(
        default=None, description="Where `azure` is, such as https://NAME.openai.azure.com."
    )
    azure_openai_api_key: SecretStr | None = Field(default=None, description="Key of `azure`.")
    azure_openai_deployment: str | None = Field(
        default=None, description="Name of the deployment that `azure` asks."
    )
    openai_api_version: str = Field(
        default="2024-10-21", description="API version that `azure` is asked in."
    )
    llamaserver_host: str = Field(
        default="http://127.0.0.1:8080",
        description="Where `llamaserver` is: llama-server, vLLM, Ollama, LM Studio or the like.",
    )
    llamaserver_api_key: SecretStr | None = Field(
        default=None, description="Key of `llamaserver`, if it wants one."
    )
    llamacpp_model_path: str | None = Field(
        default=None, description="The GGUF file that `llamacpp` loads into this process."
    )
    llamacpp_context: int = Field(
        default=8192, ge=256, description="Tokens that one conversation with `llamacpp` may have."
    )
    llamacpp_parallel: int = Field(
        default=2, ge=1, le=64, description="Conversations that `llamacpp` answers at once."
    )

    def missing(self, provider: str) -> list[str]:
        """The variables that a built-in provider cannot work without and that are not set."""
        needed = REQUIRED.get(provider, ())
        return [name.upper() for name in needed if not _text(getattr(self, name))]


def read_credentials() -> Credentials:
    """Raises LLMError, kind `invalid`, that names the variables which do not validate."""
    try:
        return Credentials()
    except ValidationError as error:
        problems = [f"{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()]
        raise LLMError("invalid", "; ".join(problems)) from None


REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("openai_api_key",),
    "anthropic": ("anthropic_api_key",),
    "azure": ("azure_openai_endpoint", "azure_openai_api_key", "azure_openai_deployment"),
    "llamaserver": (),
    "llamacpp": ("llamacpp_model_path",),
}
"""The built-in providers of real models, and the fields that each cannot work without."""


def _text(value: SecretStr | str | None) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value or ""

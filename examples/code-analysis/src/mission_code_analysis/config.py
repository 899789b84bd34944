"""What the capability may look at, and how much of it at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

IGNORED = (
    # Version control, environments, caches and builds: not sources.
    *(".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__"),
    *(".*_cache", ".hypothesis", ".idea", ".gradle"),
    *("build", "dist", "target", "*.egg-info", "mission-data", ".mission-reports"),
    # Secrets: an answer, or a model behind it, must never see them.
    *(".env", ".env.*", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".htpasswd"),
    *(".git-credentials", ".ssh", ".aws", ".gnupg", ".kube", ".docker"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
    *("*.pem", "*.key", "*.jks", "*.pfx", "*.p12", "*.tfstate", "*.tfstate.*"),
)


class CodeAnalysisConfig(BaseSettings):
    """Settings of the capability, from `MISSION_CODE_ANALYSIS_*` or `.env`."""

    model_config = SettingsConfigDict(
        env_prefix="MISSION_CODE_ANALYSIS_", env_file=".env", extra="ignore", frozen=True
    )

    root: Path = Field(default=Path("."), description="Folder whose sources are analysed.")
    reports: Path = Field(
        default=Path(".mission-reports"),
        description="Folder of written reports, relative to the root.",
    )
    ignored: tuple[str, ...] = Field(
        default=IGNORED,
        description="Names of files and folders never shown; `*` and `?` are wildcards.",
    )
    max_file_bytes: int = Field(default=1 << 20, ge=1, description="Larger files are left out.")
    max_files: int = Field(default=20_000, ge=1, description="Files visited by one call.")
    max_seconds: float = Field(default=10, gt=0, le=60, description="Time one call may take.")
    max_results: int = Field(default=200, ge=1, le=2000, description="Entries in one result.")
    max_lines: int = Field(default=400, ge=300, le=5000, description="Lines read by one call.")
    max_line_chars: int = Field(
        default=400, ge=200, le=10_000, description="Characters kept of one line."
    )
    max_report_chars: int = Field(default=200_000, ge=1, description="Characters of one report.")

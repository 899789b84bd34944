"""The README says what the code says."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from mission_code_analysis import CodeAnalysisConfig

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()


def test_every_sample_is_taken_from_the_code() -> None:
    sources = [path.read_text() for path in PROJECT.glob("src/**/*.py")]
    sources.append((PROJECT / "pyproject.toml").read_text())
    samples = re.findall(r"```(?:python|toml)\n(.*?)```", README, re.DOTALL)
    assert len(samples) > 4
    for sample in samples:
        assert any(sample in source for source in sources), textwrap.dedent(sample)


def test_the_settings_are_those_of_the_config() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| .+? \|$", README, re.MULTILINE)
    fields = CodeAnalysisConfig.model_fields
    assert [name.lower() for name, _ in rows] == list(fields)
    for name, default in rows:
        if name != "IGNORED":
            assert default == f"`{fields[name.lower()].default}`"


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(r"`((?:source|stages|tests)/\w+\.py)`", README)
    named += re.findall(r"^      (\w+\.py|\w+/) ", README, re.MULTILINE)
    assert len(named) > 8
    for path in named:
        folder = PROJECT if path.startswith("tests/") else PROJECT / "src/mission_code_analysis"
        assert (folder / path).exists(), path

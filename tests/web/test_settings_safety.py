import pytest

from mission_system.core.settings import Settings
from mission_system.web.guard import UnsafeSettings, refuse_unsafe


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "192.168.1.5", "::", "example.org", "127.evil.org", ""]
)
def test_serving_other_machines_without_authentication_has_to_be_said(host: str) -> None:
    with pytest.raises(UnsafeSettings, match="--insecure"):
        refuse_unsafe(Settings(host=host))
    refuse_unsafe(Settings(host=host, insecure=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_serving_this_machine_is_safe(host: str) -> None:
    refuse_unsafe(Settings(host=host))

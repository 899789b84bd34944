"""What a plugin tests itself with."""

from __future__ import annotations

from ..plugins.testing import PluginNotServed, Trial, trial

__all__ = ["PluginNotServed", "Trial", "trial"]

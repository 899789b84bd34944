"""What a plugin brings memory layers and alignment indicators with."""

from __future__ import annotations

from ..core.alignment.indicator import Case, IndicatorSpec, Measurement
from ..core.memory.layers import LayerStatus, MemoryLayerSpec

__all__ = ["Case", "IndicatorSpec", "LayerStatus", "Measurement", "MemoryLayerSpec"]

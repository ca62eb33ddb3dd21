"""The simulated survey: side-scan tiles with known masks."""

from sonarseg.simulation.survey import simulate

__all__ = ["simulate"]

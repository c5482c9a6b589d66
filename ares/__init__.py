"""ares: pipeline stages for machine-learning trading bots on crypto perpetual futures."""

from ares._lazy import lazy

__version__ = "0.1.0"

"""Open positions: what to do with them now, and a monitor of its own for a position nobody else watches."""

from typing import TYPE_CHECKING

from ares._lazy import lazy

if TYPE_CHECKING:
    from ares.monitor.config import MonitorConfig
    from ares.monitor.position_monitor import PositionMonitor

__all__ = ["MonitorConfig", "PositionMonitor"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {"MonitorConfig": "ares.monitor.config", "PositionMonitor": "ares.monitor.position_monitor"},
    )

"""Sensors, one module a kind; each name is also importable from here and is loaded when first used."""

from __future__ import annotations

from typing import Any

_HOMES = {
    "BaseSensorOperator": "spinner.sensors.base",
    "PokeReturnValue": "spinner.sensors.base",
    "DateTimeSensor": "spinner.sensors.date_time",
    "DateTimeSensorAsync": "spinner.sensors.date_time",
    "ExternalTaskSensor": "spinner.sensors.external_task",
    "FileSensor": "spinner.sensors.filesystem",
    "PythonSensor": "spinner.sensors.python",
    "TimeDeltaSensor": "spinner.sensors.time_delta",
    "TimeDeltaSensorAsync": "spinner.sensors.time_delta",
    "TimeSensor": "spinner.sensors.time_sensor",
    "TimeSensorAsync": "spinner.sensors.time_sensor",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'spinner.sensors' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

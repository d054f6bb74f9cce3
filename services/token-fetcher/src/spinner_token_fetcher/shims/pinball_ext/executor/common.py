"""Names of the platforms that jobs run on."""

from __future__ import annotations


class Platform:
    LOCAL = "local"
    EMR = "emr"
    QUBOLE = "qubole"

"""No framework calls home from a process of this project: the switches, each with what it stops.

``import ecp`` applies them, so they hold in every worker, command, converter and test before a framework is
imported, and children inherit them. A framework without a switch here has none: PyTorch, TVM, LiteRT and
ExecuTorch were searched for one; MNN's is in its command-line tools, which are never used (baselines/mnn_backend).
"""

from __future__ import annotations

import os
import sys

SWITCHES = {
    # ONNX Runtime 1.32 resolves an events host and keeps a device id and a database of events in the user's folders.
    "ORT_DISABLE_TELEMETRY": "1",
    # Hugging Face's hub client and transformers add usage data to requests and send some of their own.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # The convention that several libraries follow (https://consoledonottrack.com), the hub client among them.
    "DO_NOT_TRACK": "1",
}
# OpenVINO reports its import through this package and has no environment variable against it. It takes its own
# silent stub where the package cannot be imported, as when it is not installed.
REPORTERS = ("openvino_telemetry",)


def apply() -> None:
    """Set every switch, over whatever the environment says; fine to call twice."""
    os.environ.update(SWITCHES)
    for name in REPORTERS:
        sys.modules[name] = None  # type: ignore[assignment]

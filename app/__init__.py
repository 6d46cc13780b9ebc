"""The application: from a camera or a video to age, gender and expression on screen. Start reading at pipeline.py."""

import os

# ONNX Runtime from 1.29 on reports to its maker unless told so before it is first imported; this project sends nothing.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

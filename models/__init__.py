"""Elastic networks: building, training, evaluating and exporting them.

manifest.py is the contract with the application and needs only the standard library; torch is imported nowhere outside
this package.
"""

import os

# ONNX Runtime from 1.29 on reports to its maker unless told so before it is first imported; this project sends nothing.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

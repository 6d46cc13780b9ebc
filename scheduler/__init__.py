"""Which exit to run for the faces of a frame, given what is left of its budget. No threads, no Qt, no ONNX.

latency.py   operating points, the measured profile, and its online correction
policy.py    decision rules: small callables from a load to a decision
log.py       the latency log: one JSON line per frame
replay.py    feeds a log through policies and reports
"""

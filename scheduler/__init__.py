"""Which people of a frame to read, and how deep, in what is left of its budget. No threads, no Qt, no ONNX, no clock.

latency.py   operating points, the measured profile, and its online correction
policy.py    decision rules: small callables from a load to a decision
log.py       the latency log: one JSON line per frame
replay.py    decides a log again, frame by frame
fairness.py   how long somebody may have to wait for their turn
crowd.py     who is in view: made crowds and recorded ones
simulate.py  a machine on paper: any rule through any crowd, and what is on screen meanwhile
rivals.py    every other rule, ours with a part left out, the oracle
compare.py   a log as a world to simulate in; how far simulation and prediction are from what was measured

docs/reference/scheduler.md has the rule, the definitions and the results.
"""

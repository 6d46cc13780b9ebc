"""Which people of a frame to read, and how deep, in what is left of its budget. No threads, no Qt, no ONNX, no clock.

profile.py   operating points, and how long each takes as it was measured
latency.py   the profile as it holds at this moment
places.py    the same where a server reads too
load.py      what a rule is asked, and what it answers
policy.py    decision rules: small callables from a load to a decision
rules.py     rules by name
before.py    the former rule and correction, for older logs
log.py       the latency log: one JSON line per frame; reading.py reads it
replay.py    decides a log again, frame by frame
fairness.py  how long somebody may have to wait for their turn
crowd.py     who is in view: made crowds and recorded ones
world.py     a crowd before a machine, frame by frame; screen.py what is shown meanwhile, judged by a model
simulate.py  leads any rule through a world
site.py      many kiosks and one server; kiosks.py simulates them
rivals.py    every other rule, and the oracle; serving.py has those of serving systems
compare.py   a log as a world to simulate in; how far simulation and prediction are from what was measured

docs/reference/scheduler.md has the rule, the definitions and the results.
"""

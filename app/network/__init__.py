"""From crops to readings, and how long that takes here: the engine, the measured profile, the probe.

An operating point and a batch of crops go in, a `Reading` a face comes out.
"""

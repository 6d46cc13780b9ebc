"""What is known of somebody: readings fused into estimates, and visits with their beginning and end.

Readings and results go in, `Estimate`s and visits come out.
"""

"""What a latency log says: a live run beside simulations and rivals, as tables and as one page.

A `LatencyLog` goes in, figures and HTML come out.
"""

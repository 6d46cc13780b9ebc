"""The terminal's side of a run: what the user is told, and how signals end it.

Messages and signals go in; nothing that a stream does comes back as a failure.
"""

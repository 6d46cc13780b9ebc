"""Benchmarks a user can run on their machine, one module each.

Flags of commands/bench.py go in, figures are printed and written as JSON.
"""

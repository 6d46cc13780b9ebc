"""A run in a window as a whole: what opens first, and what is opened behind it.

Stands on the composition root and on the window; commands stand on it.
"""

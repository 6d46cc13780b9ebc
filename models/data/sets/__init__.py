"""Data sets behind one interface: a loader takes a path and gives a DataSet (see base.py).

Each loader is a module's `read` (`own` has two). What cannot be used is counted, named in the set's report and skipped.
"""

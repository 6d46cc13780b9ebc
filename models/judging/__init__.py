"""How good a network is: figures per exit and input size over labelled faces.

A manifest and a data set go in, a report that is ready for JSON comes out.
"""

"""Painting one result over its picture: boxes, labels and their places, motion between results, texts in the user's language.

A `Result` and a canvas go in; the window and the annotated video paint with the same code.
"""

"""From a picture to faces ready for the network: find, name, find landmarks, fit the template.

A `Frame` goes in, `FrameFaces` come out. For live sources all of it runs in a process of its own.
"""

"""Where pictures come from: cameras, files, streams and the demo crowd behind `open_source(spec)`.

A string goes in, an iterator of `Frame`s comes out. Live sources look for
a lost device again and drop the oldest frame; files wait.
"""

"""One module per command: `add` gives it its flags, `run` reads them, does the work or has it done, and prints.

Words of the command line go in; text, files and an exit code come out. cli.py imports every module for the help, so nothing
heavy is imported before `run` is called.
"""

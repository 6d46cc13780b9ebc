"""One module per group of commands; cli.py imports the one that is asked for, so that none pays for another's start."""

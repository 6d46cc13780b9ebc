"""Many files in one run: what is read and written, drafts until complete, one summary.

Settings and sources go in; a run per file comes out, with one network and one finder of faces for all.
"""

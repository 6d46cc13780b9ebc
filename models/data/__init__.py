"""From data sets to training batches: loaders, faces found and aligned once, batches as a function of seed and step.

Folders of pictures go in, arrays of aligned faces with labels come out.
"""

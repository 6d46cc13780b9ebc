"""Training: the loop, the paper's protocol, losses, teachers, a training's folder, the regularisation study.

A configuration and aligned faces go in, a folder with a checkpoint and its log comes out.
"""

"""Elastic networks: backbones, exits on the outputs of their blocks, pre-trained weights, their cost.

A configuration goes in, a torch module with an output per exit comes out.
"""

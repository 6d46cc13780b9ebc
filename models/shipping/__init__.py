"""From a trained network to what ships: the ONNX file, its manifest, its model card.

A training's folder goes in, NAME.onnx, NAME.json and NAME.md come out.
"""

"""From faces that are ready to results that are delivered, a round at a time. In: of each camera that has one, a frame with its
faces. Out: who was read and how deep, and what the sinks are given.
"""

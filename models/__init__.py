"""Elastic networks: building, training, evaluating and exporting them.

manifest.py is the contract with the application and needs only the standard library; torch is imported nowhere outside
this package.
"""

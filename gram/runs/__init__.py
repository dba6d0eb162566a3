"""The files of a run: weights and states, whether they belong together, and how runs are exported
and taken back.
"""

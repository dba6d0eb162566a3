"""Tables: the paper's numbers beside the measured ones. ``python -m gram.tables`` writes csv, md,
tex and html.
"""

"""Tables: the paper's numbers beside the measured ones. ``python -m gram.tables table1`` writes csv, md, tex and html."""

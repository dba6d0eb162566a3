"""The machine: whole files, signals, errors as one line, progress, provenance, time limits, and one
writer at a time.
"""

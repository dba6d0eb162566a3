"""Pages: the blocks of README.md and reports/*.md that ``python -m gram.reports`` writes from
results and settings.
"""

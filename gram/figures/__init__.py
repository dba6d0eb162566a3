"""Figures as SVG and PNG: ``python -m gram.figures training|completions|width|boards``; same input, same bytes."""

"""Figures as SVG and PNG: ``python -m gram.figures NAME``; same input, same bytes."""

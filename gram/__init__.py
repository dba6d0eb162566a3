"""GRAM: Generative Recursive Reasoning (arXiv:2605.19376), reproduced; imports run one way (tests/test_architecture.py)."""

__version__ = "0.1.0"

"""GRAM: Generative Recursive Reasoning (arXiv:2605.19376), reproduced.

Imports run one way: errors, files, config, tasks, data, models, losses, optim, stream, checkpoint, inference, train,
metrics, evaluate, pool, tables, figures, reports. ``tests/test_architecture.py`` holds the order.
"""

__version__ = "0.1.0"

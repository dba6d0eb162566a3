"""Evaluation: rollouts of the prior, what is counted of them, and folds put together."""

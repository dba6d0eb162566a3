"""How fast the training step is: variants side by side, each optimization with and without, and
what a planned run may cost.
"""

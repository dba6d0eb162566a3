"""Training: batches that go on from step to step, objectives, optimizers, and the loop around
them.
"""

"""Networks: the layers, GRAM with its deterministic twin, and the factory that builds one from a
run's settings.
"""

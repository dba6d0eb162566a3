"""The errors of this package: each message is one line for the user."""


class RunPodError(Exception):
    """Something that stops the run: a wrong setting, a refused key, a spent budget."""

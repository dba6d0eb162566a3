"""Repeated answers that start again, from opposite noise."""

from __future__ import annotations

from gram.models.samplers.antithetic import Antithetic
from gram.models.samplers.reseed import Reseed


class AntitheticReseed(Reseed, Antithetic):
    """:class:`Reseed` with the noise of :class:`Antithetic`: fewer repetitions at first, and those
    that remain start again.

    Partners that start again together mirror each other again; one that starts again alone mirrors
    nothing.
    """


SAMPLER = AntitheticReseed

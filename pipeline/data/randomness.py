"""Random numbers that depend on seed and place alone, never on what was drawn before."""

import numpy as np


def generator(seed: int, *counters: int) -> np.random.Generator:
    """Random numbers that depend on nothing but the arguments."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *counters))))

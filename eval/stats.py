"""How sure a number is."""


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson score interval, 95 %, of the share ``successes / trials``; it stays within [0, 1].

    It takes the trials as independent: for one picture a prompt they are.
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)

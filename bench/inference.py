"""The statistics of the measurements: every interval and every test that a table, a picture or a comparison states.

Each figure is an Estimate: its value, how many values it is of, and an interval or why there is none. The methods are
SciPy's; what is chosen here is which, and from how many values on. Wrong input raises ValueError.
"""

import math
import warnings
from dataclasses import dataclass

import numpy
from scipy import stats

#: Of fewer values no bootstrap interval is given. Of five, one of 95 % covers the median in some 90 % of cases.
LEAST_OF_BOOTSTRAP = 5
RESAMPLES = 9999

ALL_EQUAL = "all equal"
TOO_MANY_TIES = "too many equal values"

STATISTICS = {"median": numpy.median, "mean": numpy.mean}
RELATIONS = ("difference", "ratio")


@dataclass(frozen=True)
class Estimate:
    value: float
    n: int
    #: The interval; both None where there is none, for the reason given.
    low: float | None = None
    high: float | None = None
    reason: str = ""

    @property
    def has_interval(self):
        return self.low is not None

    def show(self, form=".3g"):
        """For a table: the interval, or why there is none."""
        return f"{self.low:{form}} to {self.high:{form}}" if self.has_interval else f"none: {self.reason}"


@dataclass(frozen=True)
class SignTest:
    positive: int
    negative: int
    ties: int
    #: Two-sided; None where all are ties.
    p: float | None


def checked(values, name="values", positive=False):
    array = numpy.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} has the shape {array.shape}, expected one number or more in a row")
    legal = (array > 0) & numpy.isfinite(array) if positive else numpy.isfinite(array)
    if not legal.all():
        index = int(numpy.argmin(legal))
        raise ValueError(f"{name}[{index}] is {array[index]}, expected a {'positive' if positive else 'finite'} number")
    return array


def check_level(level):
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected above 0 and below 1")


def nearly_equal(array):
    """No more apart than rounding explains."""
    return bool(numpy.ptp(array) <= 1e-12 * numpy.abs(array).max())


def pairs(before, after, relation):
    """after - before or after / before, pair by pair."""
    if relation not in RELATIONS:
        raise ValueError(f"relation is {relation!r}, legal are {', '.join(RELATIONS)}")
    before = checked(before, "before", positive=relation == "ratio")
    after = checked(after, "after", positive=relation == "ratio")
    if before.size != after.size:
        raise ValueError(f"{before.size} values before and {after.size} after, expected pairs")
    return after / before if relation == "ratio" else after - before


def bootstrap(values, statistic="median", level=0.95, seed=0):
    """The statistic with its bias-corrected and accelerated bootstrap interval (Efron, 1987)."""
    if statistic not in STATISTICS:
        raise ValueError(f"statistic is {statistic!r}, legal are {', '.join(STATISTICS)}")
    check_level(level)
    array = checked(values)
    value, n = float(STATISTICS[statistic](array)), array.size
    if n < LEAST_OF_BOOTSTRAP:
        return Estimate(value, n, reason=f"n < {LEAST_OF_BOOTSTRAP}")
    if nearly_equal(array):
        return Estimate(value, n, reason=ALL_EQUAL)
    with warnings.catch_warnings(), numpy.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = stats.bootstrap((array,), STATISTICS[statistic], n_resamples=RESAMPLES, confidence_level=level,
                                method="BCa", rng=numpy.random.default_rng(seed)).confidence_interval
    # The acceleration is 0 / 0 where leaving out one value never moves the statistic.
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return Estimate(value, n, reason=TOO_MANY_TIES)
    return Estimate(value, n, float(found.low), float(found.high))


def paired_bootstrap(before, after, relation, statistic="median", level=0.95, seed=0):
    """The statistic of the pairs' differences or ratios. Pairs are drawn whole, so this is their bootstrap."""
    return bootstrap(pairs(before, after, relation), statistic, level, seed)


def sign_test(differences):
    """Whether positive differences are as frequent as negative ones; ties are left out."""
    array = checked(differences, "differences")
    positive, negative = int((array > 0).sum()), int((array < 0).sum())
    untied = positive + negative
    p = float(stats.binomtest(positive, untied).pvalue) if untied else None
    return SignTest(positive, negative, array.size - untied, p)


def proportion(successes, n, level=0.95):
    """A share with its two-sided interval by Clopper and Pearson (1934)."""
    check_level(level)
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}, expected 0 to n of at least 1")
    found = stats.binomtest(successes, n).proportion_ci(level, method="exact")
    return Estimate(successes / n, n, float(found.low), float(found.high))


def percent_with_interval(successes, n):
    """A share and its interval of 95 %, in %."""
    share = proportion(successes, n)
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}–{100 * share.high:.1f}]"


def paired_ratio(before, after, level=0.95):
    """The geometric mean of after / before, with Student's interval of the logarithms: holds for two pairs too."""
    check_level(level)
    logs = numpy.log(pairs(before, after, "ratio"))
    value, n = float(numpy.exp(logs.mean())), logs.size
    if n < 2:
        return Estimate(value, n, reason="n < 2")
    if numpy.ptp(logs) <= 1e-12:
        return Estimate(value, n, reason=ALL_EQUAL)
    found = stats.ttest_1samp(logs, 0).confidence_interval(level)
    return Estimate(value, n, math.exp(found.low), math.exp(found.high))


def ratio(before, after, level=0.95):
    """The ratio of the geometric means of two samples, with Welch's interval of the logarithms. n is the smaller."""
    check_level(level)
    before, after = (numpy.log(checked(values, name, positive=True))
                     for values, name in ((before, "before"), (after, "after")))
    value, n = float(numpy.exp(after.mean() - before.mean())), min(before.size, after.size)
    if n < 2:
        return Estimate(value, n, reason="n < 2")
    if numpy.ptp(before) <= 1e-12 and numpy.ptp(after) <= 1e-12:
        return Estimate(value, n, reason=ALL_EQUAL)
    found = stats.ttest_ind(after, before, equal_var=False).confidence_interval(level)
    return Estimate(value, n, math.exp(found.low), math.exp(found.high))


@dataclass(frozen=True)
class Quartiles:
    """What is left of n values where a log holds no more."""
    median: float
    #: Of the third quartile to the first, as a share of the median.
    spread: float
    n: int

    def __post_init__(self):
        if not (self.median > 0 and self.spread >= 0 and self.n >= 1):
            raise ValueError(f"{self}, expected a median above 0, a spread of at least 0 and n of at least 1")

    @property
    def variance(self):
        """Of the logarithm of the median, were the values Gaussian: pi / 2 times that of a mean."""
        deviation = self.spread / (stats.norm.ppf(0.75) - stats.norm.ppf(0.25))
        return math.pi / 2 * deviation**2 / self.n


def ratio_of_medians(before, after, level=0.95):
    """after / before of two Quartiles, with Welch's interval. n is the smaller."""
    check_level(level)
    value, n = after.median / before.median, min(before.n, after.n)
    if n < 2:
        return Estimate(value, n, reason="n < 2")
    variances = numpy.array([before.variance, after.variance])
    if not variances.any():
        return Estimate(value, n, reason=ALL_EQUAL)
    freedom = variances.sum()**2 / (variances**2 / (numpy.array([before.n, after.n]) - 1)).sum()
    low, high = stats.t.interval(level, freedom, loc=math.log(value), scale=math.sqrt(variances.sum()))
    return Estimate(value, n, math.exp(low), math.exp(high))


def ratio_of_proportions(before, after, level=0.95):
    """after / before of two (successes, n), from their two intervals by Clopper and Pearson: at least the level, each
    with half of what may be missed. Infinite where before may be 0."""
    check_level(level)
    each = (1 + level) / 2
    before, after = proportion(*before, each), proportion(*after, each)
    n = min(before.n, after.n)
    if before.value == after.value == 0:
        return Estimate(1.0, n, reason="none succeeded")
    value = after.value / before.value if before.value > 0 else math.inf
    return Estimate(value, n, after.low / before.high, after.high / before.low if before.low > 0 else math.inf)

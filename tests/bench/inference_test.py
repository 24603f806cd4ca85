"""The statistics hold what they promise on data of known truth, give known values, and say when there is no interval.

Usage: inference_test.py [unittest options]
"""

import math
import pathlib
import sys
import unittest
import warnings

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bench"))
import inference  # noqa: E402

SEED = 20260924


def share_covered(truth, estimates):
    """Of the estimates whose interval holds the truth."""
    return sum(one.low <= truth <= one.high for one in estimates) / len(estimates)


class Coverage(unittest.TestCase):
    """Of intervals on samples whose truth is known. 200 of 95 % leave 95 ± 4.6 at three deviations."""

    def setUp(self):
        self.random = numpy.random.default_rng(SEED)

    def check(self, share, least, most):
        self.assertGreaterEqual(share, least, f"seed {SEED}")
        self.assertLessEqual(share, most, f"seed {SEED}")

    def test_bootstrap_of_a_median_and_a_mean(self):
        for statistic, truth in (("median", 0.0), ("mean", math.exp(0.125) - 1)):
            found = [inference.bootstrap(self.random.lognormal(sigma=0.5, size=30) - 1, statistic) for _ in range(200)]
            self.check(share_covered(truth, found), 0.89, 0.99)

    def test_an_interval_of_eighty_per_cent_covers_less(self):
        found = [inference.bootstrap(self.random.normal(size=30), level=0.8) for _ in range(200)]
        self.check(share_covered(0, found), 0.71, 0.87)

    def test_the_fewest_values_a_bootstrap_is_given_for(self):
        found = [inference.bootstrap(self.random.normal(size=inference.LEAST_OF_BOOTSTRAP)) for _ in range(200)]
        self.check(share_covered(0, found), 0.85, 0.96)

    def test_ratios_of_few_pairs_and_of_two_samples(self):
        pairs, samples = [], []
        for _ in range(1000):
            before = self.random.lognormal(sigma=0.3, size=3)
            pairs.append(inference.paired_ratio(before, 1.1 * before * self.random.lognormal(sigma=0.05, size=3)))
            samples.append(inference.ratio(self.random.lognormal(sigma=0.1, size=5),
                                           1.1 * self.random.lognormal(sigma=0.3, size=4)))
        self.check(share_covered(1.1, pairs), 0.93, 0.97)
        self.check(share_covered(1.1, samples), 0.92, 0.98)

    def test_ratio_of_medians_from_quartiles(self):
        def quartiles(scale):
            values = scale * self.random.lognormal(sigma=0.05, size=50)
            first, median, third = numpy.quantile(values, (0.25, 0.5, 0.75))
            return inference.Quartiles(median, (third - first) / median, 50)

        found = [inference.ratio_of_medians(quartiles(1), quartiles(1.1)) for _ in range(1000)]
        self.check(share_covered(1.1, found), 0.93, 0.97)

    def test_proportions_cover_at_least_their_level(self):
        one = [inference.proportion(int(self.random.binomial(40, 0.1)), 40) for _ in range(400)]
        self.check(share_covered(0.1, one), 0.94, 0.995)
        two = [inference.ratio_of_proportions((int(self.random.binomial(200, 0.1)), 200),
                                              (int(self.random.binomial(200, 0.2)), 200)) for _ in range(200)]
        self.check(share_covered(2, two), 0.95, 1)


class KnownValues(unittest.TestCase):
    def test_a_seed_gives_the_same_interval_again(self):
        values = numpy.random.default_rng(SEED).normal(size=9)
        first, again = inference.bootstrap(values, "mean", seed=1), inference.bootstrap(values, "mean", seed=1)
        self.assertEqual(first, again)
        self.assertNotEqual(first, inference.bootstrap(values, "mean", seed=2))
        self.assertEqual((first.value, first.n), (float(values.mean()), 9))

    def test_pairs_are_drawn_whole(self):
        before = numpy.array([1.0, 10, 100, 1000, 10000, 100000])
        noise = numpy.array([0.01, -0.02, 0.015, -0.005, 0.02, 0.0])
        ratio = inference.paired_bootstrap(before, before * (2 + noise), "ratio")
        self.assertAlmostEqual(ratio.value, 2.005)
        self.assertTrue(1.97 < ratio.low < ratio.value < ratio.high < 2.03, ratio)
        difference = inference.paired_bootstrap(before, before + 3 + noise, "difference", "mean")
        self.assertAlmostEqual(difference.value, 3 + noise.mean())
        self.assertTrue(2.97 < difference.low < difference.high < 3.03, difference)

    def test_sign_test(self):
        self.assertEqual(inference.sign_test([1, 2, 3, 4, 5]), inference.SignTest(5, 0, 0, 0.0625))
        found = inference.sign_test([1] * 8 + [-1] * 2 + [0] * 3)
        self.assertEqual((found.positive, found.negative, found.ties), (8, 2, 3))
        self.assertAlmostEqual(found.p, 2 * (45 + 10 + 1) / 1024)
        self.assertIsNone(inference.sign_test([0, 0]).p)

    def test_clopper_pearson(self):
        none, every = inference.proportion(0, 10), inference.proportion(10, 10)
        self.assertEqual((none.low, every.high), (0, 1))
        self.assertAlmostEqual(none.high, 1 - 0.025**0.1)
        self.assertAlmostEqual(every.low, 0.025**0.1)

    def test_student_s_interval_of_two_pairs(self):
        found = inference.paired_ratio([1, 1], [1, 4])
        # The tangent is the quantile of Student's t of one degree of freedom.
        half = math.tan(math.pi * 0.475) * math.log(2)
        self.assertAlmostEqual(found.value, 2)
        self.assertAlmostEqual(math.log(found.low), math.log(2) - half)
        self.assertAlmostEqual(math.log(found.high), math.log(2) + half)

    def test_welch_of_equal_spreads_has_the_freedom_of_both(self):
        before = inference.Quartiles(2.0, 0.1, 6)
        after = inference.Quartiles(3.0, 0.1, 6)
        found = inference.ratio_of_medians(before, after)
        deviation = 0.1 / 1.3489795 * math.sqrt(math.pi / 2 / 6 * 2)
        self.assertAlmostEqual(found.value, 1.5)
        self.assertAlmostEqual(math.log(found.high / 1.5), 2.2281389 * deviation, 6)

    def test_a_ratio_to_a_share_that_may_be_none_has_no_upper_end(self):
        found = inference.ratio_of_proportions((0, 100), (50, 100))
        self.assertEqual((found.value, found.high), (math.inf, math.inf))
        self.assertGreater(found.low, 5)


class NoInterval(unittest.TestCase):
    def test_few_or_equal_values_have_none_and_no_warning(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for values, reason in (([3.0], "n < 5"), ([3.0, 4.0], "n < 5"), ([1.0, 2.0, 4.0], "n < 5"),
                                   ([2.0] * 7, inference.ALL_EQUAL), ([1.0] * 9 + [2.0], inference.TOO_MANY_TIES)):
                found = inference.bootstrap(values)
                self.assertEqual((found.low, found.high, found.reason), (None, None, reason))
                self.assertEqual((found.value, found.n), (float(numpy.median(values)), len(values)))
            for ratio in (inference.paired_ratio, inference.ratio):
                self.assertEqual(ratio([1.0], [2.0]).reason, "n < 2")
                self.assertEqual(ratio([1.1] * 3, [1.1 * 1.7] * 3).reason, inference.ALL_EQUAL)
            quartiles = inference.Quartiles(1, 0, 9)
            self.assertEqual(inference.ratio_of_medians(quartiles, quartiles).reason, inference.ALL_EQUAL)
            self.assertEqual(inference.ratio_of_medians(inference.Quartiles(1, 0.1, 1), quartiles).reason, "n < 2")
            self.assertFalse(inference.ratio_of_proportions((0, 9), (0, 9)).has_interval)

    def test_a_table_shows_the_interval_or_why_there_is_none(self):
        self.assertEqual(inference.bootstrap([1, 2]).show(), "none: n < 5")
        self.assertEqual(inference.Estimate(1, 9, 0.5, 1.25).show(".2f"), "0.50 to 1.25")


class WrongInput(unittest.TestCase):
    def test_is_refused_in_one_line(self):
        fine = [1.0, 2.0, 3.0, 4.0, 5.0]
        wrong = {
            "values has the shape (0,)": lambda: inference.bootstrap([]),
            "values has the shape (2, 1)": lambda: inference.bootstrap([[1], [2]]),
            "values[1] is nan, expected a finite number": lambda: inference.bootstrap([1, math.nan]),
            "statistic is 'mode', legal are median, mean": lambda: inference.bootstrap(fine, "mode"),
            "level is 95, expected above 0 and below 1": lambda: inference.bootstrap(fine, level=95),
            "relation is 'sum', legal are difference, ratio": lambda: inference.paired_bootstrap(fine, fine, "sum"),
            "5 values before and 4 after": lambda: inference.paired_bootstrap(fine, fine[1:], "difference"),
            "before[0] is 0.0, expected a positive": lambda: inference.paired_ratio([0, 1], [1, 1]),
            "after[1] is -1.0, expected a positive": lambda: inference.ratio([1, 1], [1, -1]),
            "differences[0] is inf": lambda: inference.sign_test([math.inf]),
            "4 successes of 3": lambda: inference.proportion(4, 3),
            "0 successes of 0": lambda: inference.proportion(0, 0),
            "expected a median above 0": lambda: inference.Quartiles(0, 0.1, 3),
        }
        for message, call in wrong.items():
            with self.assertRaises(ValueError) as caught:
                call()
            self.assertIn(message, str(caught.exception))
            self.assertEqual(len(str(caught.exception).splitlines()), 1)


if __name__ == "__main__":
    unittest.main()

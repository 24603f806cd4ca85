"""What TensorBoard reads back is what the lines of the run say.

Usage: to_tensorboard_test.py [unittest options]
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import small_runs

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from leapverify import to_tensorboard


def read_back(folder):
    """{tag: [(step, value)]}, and the times of the training losses."""
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    scalars = {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
               for tag in accumulator.Tags()["scalars"]}
    return scalars, [event.wall_time for event in accumulator.Scalars("loss/training")]


class ToTensorboard(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="leapverify test ")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.run_folder = small_runs.leaping_run(self.folder / "run")

    def lines(self, name):
        return [json.loads(line) for line in (self.run_folder / name).read_text().splitlines()]

    def call(self, *arguments, path=()):
        paths = [*map(str, path), os.environ.get("PYTHONPATH", "")]
        return subprocess.run(
            [sys.executable, "-m", "leapverify.to_tensorboard", *map(str, arguments)],
            capture_output=True, text=True, timeout=280,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})

    def assert_same(self, own, expected, tag):
        self.assertEqual([step for step, _ in own], [step for step, _ in expected], tag)
        for (_, value), (_, wanted) in zip(own, expected):
            self.assertAlmostEqual(value, wanted, delta=1e-6 * max(1, abs(wanted)), msg=tag)

    def test_scalars_are_those_of_the_lines(self):
        lines = self.lines("metrics.jsonl")
        lines[-1]["average_validation_loss"] = 1.8765
        small_runs.write_lines(self.run_folder / "metrics.jsonl", lines)
        folder = to_tensorboard.write(self.run_folder)
        self.assertEqual(folder, self.run_folder / "tensorboard")
        scalars, times = read_back(folder)

        def of(name, key):
            return [(line["step"], line[key]) for line in self.lines(name) if key in line]

        trace = self.lines("trace.jsonl")
        overhead, forwards = [], 0
        for line in trace:
            spent = 2 * ("probe_loss" in line) + line.get("forwards", 0)
            forwards += spent
            if spent:
                overhead.append((line["step"], forwards / (forwards + line["step"] * 48)))
        regimes = {"chaotic": 0, "transition": 1, "stable": 2}
        expected = {
            "loss/training": of("metrics.jsonl", "train_loss"),
            "loss/validation": of("metrics.jsonl", "validation_loss"),
            "loss/validation_at_average": [(200, 1.8765)],
            "loss/probes": of("trace.jsonl", "probe_loss"),
            "learning_rate/in_force": of("metrics.jsonl", "lr"),
            "learning_rate/scale": of("trace.jsonl", "to"),
            "speed/tokens_per_second": of("metrics.jsonl", "tokens_per_second"),
            "regime/signal": of("trace.jsonl", "signal"),
            "regime/regime": [(step, regimes[name]) for step, name in of("trace.jsonl", "regime")],
            "cost/overhead": overhead,
            "leaps/tried": [(30, 1), (40, 2), (50, 3), (60, 4), (80, 5), (90, 6), (100, 7)],
            "leaps/accepted": [(30, 1), (40, 2), (50, 3), (60, 3), (80, 3), (90, 3), (100, 4)],
            "leaps/horizon": [(30, 5), (40, 20), (50, 5), (100, 5)],
            "leaps/steps_saved": [(30, 12.5)],
            "gain/best_candidate": [(30, 0.1), (40, 0.1), (50, 0.1), (60, 0.001), (80, 0.05),
                                    (100, 0.1)],
            "gain/of_leap": [(30, 0.09)],
            "gain/lower_bound": [(30, 0.05)],
        }
        self.assertEqual(set(scalars), set(expected))
        for tag, points in expected.items():
            self.assert_same(scalars[tag], points, tag)
        self.assertAlmostEqual(times[-1] - times[0], 190 * 0.11, places=3)

    def test_looks(self):
        run = small_runs.looked_at_run(self.folder / "looked at")
        scalars, _ = read_back(to_tensorboard.write(run))
        self.assert_same(scalars["looks/loss"], [(13, 4.1), (50, 3.4), (83, 2.9)], "looks/loss")
        self.assert_same(scalars["looks/best_loss"], [(13, 4.6), (50, 3.401), (83, 2.8)], "looks/best_loss")
        spent = 16 + 70 + 96 + 64 + 1
        self.assert_same(scalars["cost/overhead"][-1:], [(98, spent / (spent + 98 * 48))], "cost/overhead")

    def test_trace_alone(self):
        folder = self.folder / "events"
        result = self.call(self.run_folder / "trace.jsonl", "-o", folder)
        self.assertEqual((result.returncode, result.stdout), (0, f"{folder}\n"), result.stderr)
        self.assertTrue(list(folder.glob("events.out.tfevents.*")))

    def assert_refused(self, result, *words):
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        for word in words:
            self.assertIn(str(word), result.stderr)

    def test_events_are_never_added_to_those_of_another_call(self):
        to_tensorboard.write(self.run_folder)
        self.assert_refused(self.call(self.run_folder), self.run_folder / "tensorboard",
                            "exists already")

    def test_what_is_no_run_or_no_folder(self):
        self.assert_refused(self.call(self.folder / "none"), "no such run folder or trace")
        below = self.run_folder / "config.yaml" / "events"
        self.assert_refused(self.call(self.run_folder, "-o", below), below, "cannot write")

    def test_without_tensorboard(self):
        (self.folder / "tensorboard.py").write_text(
            "raise ModuleNotFoundError('none', name='tensorboard')")
        self.assert_refused(self.call(self.run_folder, path=[self.folder]),
                            "Python package tensorboard is missing: pip install tensorboard")


if __name__ == "__main__":
    unittest.main()

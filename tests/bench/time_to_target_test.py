"""The comparison of optimizers: what is run, that it goes on where it was, and that every method trains.

Usage: time_to_target_test.py [unittest options], with the package on PYTHONPATH
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(__file__).parents[2] / "bench" / "time_to_target.py"
sys.path.insert(0, str(BENCH.parent))
import time_to_target as bench  # noqa: E402
from harness.arenas import BASE_STEPS  # noqa: E402
from harness.methods import METHODS, Lookahead, Method, Outer, schedule  # noqa: E402
from harness.tasks import base_name  # noqa: E402
from harness.text import read  # noqa: E402
from runs_in_parts import KILLED  # noqa: E402

import torch  # noqa: E402

PLAN = bench.Plan(steps=100, seeds=2, points=4, widenings=2)


def done(jobs, loss_of):
    """Lines for jobs as if each had ended at loss_of(rate, seed)."""
    return [{**job, "final": loss_of(job["rate"], job["seed"]),
             "curve": [[50, 1, 1, 3.0], [100, 2, 2, loss_of(job["rate"], job["seed"])]],
             "cost_curve": [[50, 2], [100, 4]]} for job in jobs]


class Planning(unittest.TestCase):
    def jobs_until_nothing_is_left(self, method, loss_of, lines=()):
        lines = list(lines)
        while True:
            known = {bench.key_of(line) for line in lines}
            jobs = [job for job in bench.wanted(lines, "pretrain", method, PLAN) if bench.key_of(job) not in known]
            if not jobs:
                return lines
            lines += done(jobs, loss_of)

    def test_the_best_of_a_grid_is_confirmed_at_other_seeds(self):
        lowest = bench.grid("pretrain", "adamw", 4)[0]
        lines = self.jobs_until_nothing_is_left("muon", lambda rate, seed: abs(rate - 2 * lowest) + seed)
        self.assertEqual([line["rate"] / lowest for line in lines], [1, 2, 4, 8, 2, 2])
        self.assertEqual([line["purpose"] for line in lines], ["grid"] * 4 + ["confirm"] * 2)
        self.assertEqual([line["seed"] for line in lines], [0, 0, 0, 0, 1, 2])

    def test_adamw_and_leapverify_are_confirmed_at_the_usual_rate_too(self):
        lowest = bench.grid("pretrain", "adamw", 4)[0]
        for method in ("adamw", "leapverify"):
            lines = self.jobs_until_nothing_is_left(method, lambda rate, seed: 3 + abs(rate - 2 * lowest))
            self.assertEqual([(line["rate"] / lowest, line["seed"]) for line in lines if line["purpose"] == "confirm"],
                             [(1, 1), (1, 2), (2, 1), (2, 2)])
        lines = self.jobs_until_nothing_is_left("adamw", lambda rate, seed: 3 + abs(rate - 2 * lowest))
        self.assertEqual(bench.target_of(lines, "pretrain"), 3)

    def test_a_grid_is_widened_where_its_best_stands_at_the_edge(self):
        lowest = bench.grid("pretrain", "adamw", 4)[0]
        for best, rates in ((16, [1, 2, 4, 8, 16, 32, 16, 16]), (0.5, [1, 2, 4, 8, 0.5, 0.25, 0.5, 0.5]),
                            (1000, [1, 2, 4, 8, 16, 32, 32, 32])):
            with self.subTest(best=best):
                lines = self.jobs_until_nothing_is_left("muon", lambda rate, _: abs(rate - best * lowest))
                self.assertEqual([line["rate"] / lowest for line in lines], rates)

    def test_runs_that_failed_are_neither_the_best_nor_repeated(self):
        jobs = bench.wanted([], "pretrain", "muon", PLAN)
        lines = [*done(jobs[1:], lambda rate, _: rate), {**jobs[0], "failed": "diverged"}]
        further = [job for job in bench.wanted(lines, "pretrain", "muon", PLAN)
                   if bench.key_of(job) not in {bench.key_of(line) for line in lines}]
        self.assertEqual({job["rate"] for job in further}, {jobs[1]["rate"]})
        self.assertEqual({job["purpose"] for job in further}, {"confirm"})
        failed = [{**job, "failed": "diverged"} for job in jobs]
        self.assertEqual(bench.wanted(failed, "pretrain", "muon", PLAN), jobs)

    def test_the_shortened_decay_has_the_steps_that_leapverify_took(self):
        lowest = bench.grid("pretrain", "adamw", 4)[0]
        lines = self.jobs_until_nothing_is_left("adamw", lambda rate, _: 3 + abs(rate - 2 * lowest))
        for seed, curve in ((0, [[100, 2, 2, 2.8]]), (1, [[50, 1, 1, 2.9], [100, 2, 2, 2.8]]),
                            (2, [[50, 1, 1, 3.1], [100, 2, 2, 3.05]])):
            lines.append({"arena": "pretrain", "method": "leapverify", "rate": 8 * lowest, "seed": seed, "steps": 100,
                          "purpose": "confirm" if seed else "grid", "curve": curve, "cost_curve": [[50, 2], [100, 4]],
                          "final": curve[-1][3]})
        jobs = bench.wanted(lines, "pretrain", "adamw-decay-shortened", PLAN)
        self.assertEqual([(job["rate"] / lowest, job["seed"], job["steps"]) for job in jobs], [(2, 1, 52)])


class Methods(unittest.TestCase):
    def step_of(self, kind, steps):
        """Weights after some steps on a constant gradient."""
        model = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.constant_(model.weight, 1.0)
        method = kind(model, 1e-2, 1000)
        seen = []
        for _ in range(steps):
            method.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            method.step()
            seen.append(model.weight.detach().clone())
        return method, seen

    def test_lookahead_goes_half_of_the_way_back(self):
        _, fast = self.step_of(Method, 5)
        method, seen = self.step_of(Lookahead, 5)
        torch.testing.assert_close(seen[3], fast[3], rtol=0, atol=0)
        torch.testing.assert_close(seen[4], torch.lerp(torch.ones(1, 2), fast[4], 0.5))
        self.assertEqual(method.judged(lambda: float(method.model.weight[0, 0])), float(seen[4][0, 0]))

    def test_snoo_is_a_nesterov_step_on_the_way_gone(self):
        _, fast = self.step_of(Method, 20)
        _, seen = self.step_of(Outer, 20)
        gone = 1 - fast[-1]
        torch.testing.assert_close(seen[-1], 1 - Outer.outer_rate * (1 + Outer.momentum) * gone)

    def test_judging_leaves_the_weights_of_training(self):
        # Which have no weights of their own.
        others = {METHODS[name] for name in ("leapverify", "leapverify-free", "leapverify-auto", "leapverify-off", "muon")}
        for kind in set(METHODS.values()) - others:
            method, seen = self.step_of(kind, 7)
            method.judged(lambda: 0.0)
            if not issubclass(kind, METHODS["schedulefree"]):  # which itself goes there and back, up to rounding
                self.assertTrue(torch.equal(method.model.weight, seen[-1]), kind)

    def test_schedule(self):
        self.assertAlmostEqual(schedule(0, 100), 0.1)
        self.assertAlmostEqual(schedule(10, 100), 1.0)
        self.assertAlmostEqual(schedule(100, 100), 0.02)


class Runs(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def bench(self, *arguments):
        return subprocess.run([sys.executable, BENCH, self.folder, "--smoke", "--seeds", "1", *arguments],
                              capture_output=True, text=True, timeout=500)

    def lines(self):
        return [json.loads(line) for line in (self.folder / "time_to_target.jsonl").read_text().splitlines()]

    def test_every_method_trains_and_the_same_run_gives_the_same_losses(self):
        result = self.bench("--arenas", "pretrain", "lora")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = self.lines()
        self.assertEqual([line for line in lines if "failed" in line], [])
        self.assertEqual({line["method"] for line in lines} | {"adamw-decay-shortened"}, set(bench.METHODS))
        self.assertEqual({line["arena"] for line in lines}, {"pretrain", "lora"})
        tried = [line for line in lines if line["method"] == "leapverify" and line["tries"] > 0]
        self.assertTrue(tried)
        self.assertTrue(all(line["cost_steps"] > 0 for line in tried))
        # Off, it is the base optimizer, bitwise; and the same in another process.
        for off in [line for line in lines if line["method"] == "leapverify-off"]:
            bare, = [line for line in lines if line["method"] == "adamw" and line["purpose"] == "confirm"
                     and (line["arena"], line["rate"]) == (off["arena"], off["rate"])]
            self.assertEqual([point[3] for point in off["curve"]], [point[3] for point in bare["curve"]])
        for line in lines:
            self.assertLess(line["final"], line["curve"][0][3] + 0.5)
            self.assertGreater(line["peak_bytes"], 1 << 20)

        kept = lines[: len(lines) // 2]
        (self.folder / "time_to_target.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
        self.assertEqual(self.bench("--arenas", "pretrain", "lora").returncode, 0)
        losses = {bench.key_of(line): [point[3] for point in line["curve"]] for line in lines}
        self.assertEqual({bench.key_of(line): [point[3] for point in line["curve"]] for line in self.lines()}, losses)

    def test_a_run_that_fails_is_named_and_the_rest_goes_on(self):
        text = read("python", torch.device("cpu")).fingerprint
        (self.folder / base_name(text, BASE_STEPS)).write_bytes(b"no model")
        result = self.bench("--methods", "adamw", "--arenas", "pretrain", "finetune")
        self.assertEqual(result.returncode, 0, result.stderr)
        failed = [line for line in self.lines() if "failed" in line]
        self.assertEqual({(line["arena"], line["method"]) for line in failed}, {("finetune", "adamw")})
        self.assertIn("finetune, adamw at 5e-05, seed 0: failed: ", result.stdout)
        self.assertTrue([line for line in self.lines() if line["arena"] == "pretrain" and "final" in line])

    def test_a_run_that_was_killed_is_tried_again(self):
        arguments = ["--methods", "adamw", "--arenas", "pretrain"]
        self.assertEqual(self.bench(*arguments).returncode, 0)
        lines = self.lines()
        log = self.folder / "time_to_target.jsonl"
        killed = {**{name: lines[0][name] for name in (*bench.KEY, "steps", "device")}, "failed": KILLED}
        log.write_text("".join(json.dumps(line) + "\n" for line in [killed, *lines[1:]]))
        self.assertEqual(self.bench(*arguments).returncode, 0)
        self.assertEqual([line for line in self.lines() if "failed" in line], [])
        self.assertEqual(sorted(map(bench.key_of, self.lines())), sorted(map(bench.key_of, lines)))

    def test_any_folder_of_text_is_trained_on(self):
        texts = self.folder.with_name(self.folder.name + " texts")
        self.addCleanup(shutil.rmtree, texts)
        for name in ("mine", "other"):
            (texts / name).mkdir(parents=True)
            for number in range(200):
                (texts / name / f"{number}.txt").write_text(f"{name} {number}\n" * 100)
        (texts / "mine" / "picture.png").write_bytes(b"\0" * 100000)
        arguments = ["--methods", "adamw", "--arenas", "pretrain", "finetune", "--text", texts / "mine"]
        result = self.bench(*arguments, "--finetune-text", texts / "other")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = self.lines()
        self.assertEqual([line for line in lines if "failed" in line], [])
        seen = {line["arena"]: line["text"] for line in lines}
        self.assertEqual(len(set(seen.values())), 2)
        mine = read("python", torch.device("cpu"), str(texts / "mine"))
        self.assertEqual(seen["pretrain"], mine.fingerprint)
        self.assertNotIn(0, mine.splits["train"])
        for other in ([], ["--finetune-text", texts / "other", "--text", texts / "other"]):
            refused = self.bench("--methods", "adamw", "--arenas", "finetune", *(other or arguments[-2:]))
            self.assertEqual(refused.returncode, 2)
            self.assertIn("holds runs of finetune on another text", refused.stderr.splitlines()[-1])
        self.assertEqual(self.lines(), lines)

    def test_wrong_input(self):
        (self.folder / "little").mkdir()
        for arguments, words in ((["--seeds", "0"], "--seeds"), (["--arenas", "chess"], "chess"),
                                 (["--text", self.folder / "nothing"], "nothing' is no folder of text"),
                                 (["--text", self.folder / "little"], "too little text for train, gate, validation"),
                                 (["--device", "cuda"], "--smoke is for the CPU")):
            result = self.bench(*arguments)
            self.assertEqual(result.returncode, 2)
            self.assertIn(words, result.stderr.splitlines()[-1])


if __name__ == "__main__":
    unittest.main()

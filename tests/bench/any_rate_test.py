"""The comparison from any learning rate: how the baseline is tuned, what is run, and that it is there in the report.

Usage: any_rate_test.py [unittest options], with the package on PYTHONPATH
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
from dataclasses import replace

BENCH = pathlib.Path(__file__).parents[2] / "bench" / "any_rate.py"
sys.path.insert(0, str(BENCH.parent))
import any_rate as bench  # noqa: E402
from any_rate_report import times  # noqa: E402
from any_rate_runs import Arena, arenas_of, is_bracketed, tuning  # noqa: E402
from corpus import fingerprint  # noqa: E402
from harness import SCHEDULES  # noqa: E402
from harness.arenas import ARENAS  # noqa: E402
from harness.methods import MuonAndAdamW, Recipe, schedule  # noqa: E402
from harness.tasks import DigitsTask  # noqa: E402
from runs_in_parts import lines_of  # noqa: E402

import torch  # noqa: E402

PLAN = bench.Plan(steps=100, lowest_rate=1.0, warmup=0.1, seeds=2, warmups=(0.0, 0.1), multiples=(0.25, 1.0, 4.0),
                  variants={"mine": {"on_accept": "leap"}})


def until_nothing_is_left(loss_of, methods=("alone", "leapverify", "prodigy"), plan=PLAN):
    """The lines as if each run had ended at loss_of(job), None: failed."""
    lines = []
    while True:
        known = {bench.key_of(line) for line in lines}
        jobs = [job for job in bench.wanted(lines, "pretrain", list(methods), plan) if bench.key_of(job) not in known]
        if not jobs:
            return lines
        for job in jobs:
            loss = loss_of(job)
            ending = {"failed": "RuntimeError: diverged before step 9"} if loss is None else {"final": loss, "cost_steps": 1.0}
            lines.append({**job, **ending})


def rates(lines, **what):
    return [line["rate"] for line in lines if all(line[name] == value for name, value in what.items())]


class Planning(unittest.TestCase):
    def test_the_base_is_tuned_until_the_best_has_worse_neighbours(self):
        lines = until_nothing_is_left(lambda job: 3 + abs(job["rate"] - 64) + job["warmup"])
        self.assertEqual(rates(lines, purpose="tune", warmup=0.1), [8, 16, 32, 64, 128])
        self.assertEqual(rates(lines, purpose="tune", warmup=0.0), [8, 16, 32, 64, 128])
        self.assertEqual({(line["rate"], line["warmup"], line["seed"]) for line in lines if line["purpose"] == "confirm"},
                         {(64, 0.0, 1), (64, 0.0, 2)}, "at the best warm-up, and not at the seed that found it")
        falling = until_nothing_is_left(lambda job: 3 + abs(job["rate"] - 1))
        self.assertEqual(sorted(rates(falling, purpose="tune", warmup=0.1)), [0.5, 1, 2, 4, 8, 16, 32])

    def test_where_runs_scatter_the_median_over_seeds_is_tuned(self):
        def loss(job):
            # At seed 0 the largest rate has luck.
            return 1.0 if (job["seed"], job["rate"]) == (0, 32) else 3 + abs(job["rate"] - 16)

        lines = until_nothing_is_left(loss, plan=replace(PLAN, tuning_seeds=(0, 101, 102), warmups=(0.1,)))
        tuned = [(line["rate"], line["seed"]) for line in lines if line["purpose"] == "tune"]
        self.assertEqual(sorted(tuned), [(rate, seed) for rate in (8, 16, 32) for seed in (0, 101, 102)])
        self.assertEqual(set(rates(lines, purpose="confirm")), {16})
        self.assertEqual(tuning(lines), {0.1: {8: 11, 16: 3, 32: 19}})
        # A log that one seed alone went on in.
        lucky = {**lines[0], "rate": 64, "seed": 0, "final": 0.5}
        self.assertEqual(Arena("pretrain", [*lines, lucky]).best["rate"], 16)
        self.assertEqual({job["rate"] for job in bench.wanted([*lines, lucky], "pretrain", [],
                                                              replace(PLAN, tuning_seeds=(0, 101, 102), warmups=(0.1,)))
                          if job["purpose"] == "confirm"}, {16})
        self.assertEqual(tuning(lines[:4], 3), {0.1: {}}, "of rates that all seeds were run at")

    def test_all_is_held_against_the_best_schedule(self):
        def tuned(arena, final):
            made = {"arena": arena, "method": "alone", "variant": "", "warmup": 0.1, "steps": 100, "cost_steps": 0.0}
            return [{**made, "rate": 1.0, "seed": 0, "purpose": "tune", "final": final},
                    {**made, "rate": 1.0, "seed": 1, "purpose": "confirm", "final": final + 1}]

        lines = [*tuned("pretrain", 3.0), *tuned("pretrain-wsd", 2.0), *tuned("pretrain-linear", 2.5), *tuned("pretrain-muon", 1.0),
                 tuned("pretrain-constant", 0.5)[0]]
        found = {arena.name: (arena.baseline, arena.confirmed) for arena in arenas_of(lines)}
        self.assertEqual(found, {"pretrain": ([3.0], [4.0]), "pretrain-wsd": ([3.0], [3.0]), "pretrain-linear": ([3.5], [3.5]),
                                 "pretrain-muon": ([2.0], [2.0])}, "of those that were confirmed, with the same optimizer")
        self.assertEqual([ARENAS[f"pretrain-{kind}"].recipe.schedule for kind in SCHEDULES[1:]], list(SCHEDULES[1:]))

    def test_without_methods_the_base_is_tuned_and_no_more(self):
        lines = until_nothing_is_left(lambda job: 3 + abs(job["rate"] - 64), methods=(), plan=replace(PLAN, variants={}))
        self.assertEqual({line["purpose"] for line in lines}, {"tune", "confirm"})

    def test_rates_that_fail_are_above_the_best(self):
        lines = until_nothing_is_left(lambda job: None if job["rate"] > 16 else 1 / job["rate"])
        self.assertEqual(sorted(rates(lines, purpose="tune", warmup=0.1)), [8, 16, 32])
        self.assertEqual(set(rates(lines, purpose="confirm")), {16})

    def test_every_method_runs_from_every_rate_but_those_that_find_theirs(self):
        lines = until_nothing_is_left(lambda job: 3 + abs(job["rate"] - 16) + job["warmup"])
        for seed in (1, 2):
            for method in ("alone", "leapverify"):
                self.assertEqual(rates(lines, purpose="range", method=method, variant="", seed=seed), [4, 16, 64])
            self.assertEqual(rates(lines, purpose="range", method="prodigy", seed=seed), [1.0])
            mine = [line for line in lines if line["variant"] == "mine" and line["seed"] == seed]
            self.assertEqual([line["rate"] for line in mine], [4, 16, 64])
            self.assertEqual({line["options"]["on_accept"] for line in mine}, {"leap"})
        ablations = {line["variant"]: line for line in lines if line["purpose"] == "ablation"}
        self.assertEqual(set(ablations), set(bench.ABLATIONS))

    def test_brackets(self):
        self.assertTrue(is_bracketed({1: 3.0, 2: 2.0, 4: 3.0}))
        self.assertTrue(is_bracketed({1: 3.0, 2: 2.0, 4: None}))
        self.assertFalse(is_bracketed({1: 2.0, 2: 3.0, 4: 4.0}))
        self.assertFalse(is_bracketed({1: 3.0, 2: 2.0, 4: 2.0}))
        self.assertFalse(is_bracketed({1: None, 2: None, 4: None}))

    def test_an_arena_reads_its_lines(self):
        lines = until_nothing_is_left(lambda job: 3 + abs(job["rate"] - 16) / 16 + job["warmup"] + job["seed"])
        arena = Arena("pretrain", lines)
        self.assertEqual((arena.best["rate"], arena.best["warmup"], arena.own_rate), (16, 0.0, 16))
        self.assertEqual(arena.baseline, [4.0, 5.0])
        self.assertEqual(arena.methods(), ["alone", "leapverify", "prodigy", "leapverify:mine"])
        self.assertEqual(list(arena.runs("leapverify")), [0.25, 1.0, 4.0])
        self.assertAlmostEqual(arena.median(arena.runs("leapverify")[0.25]), 3 + 0.75 + 0.1 + 1.5)
        lost, killed = {"failed": "RuntimeError: diverged before step 3"}, {"failed": "its process was killed"}
        self.assertEqual(arena.median([lost, lost, {"final": 1.0}]), float("inf"))
        self.assertEqual(arena.median([killed, killed, {"final": 1.0}]), 1.0)
        self.assertNotEqual(arena.median([killed]), arena.median([killed]), "nan")

    def test_speed_up_is_to_the_tuned_loss(self):
        arena = Arena("pretrain", until_nothing_is_left(lambda job: 3.0))
        curve = [[10, 0.1, 0.1, 4.0], [20, 0.2, 0.2, 3.0], [30, 0.3, 0.3, 2.5]]
        runs = [{"final": 2.5, "steps": 30, "curve": curve}, {"final": 3.5, "steps": 30, "curve": curve[:1]}, {"failed": "x"}]
        self.assertEqual(arena.speed_ups(runs), [1.5, 0])

    def test_a_run_that_was_killed_says_nothing_about_its_rate(self):
        lines = until_nothing_is_left(lambda job: 3 + abs(job["rate"] - 16))
        killed = [{**line, "failed": "its process was killed"} if line["purpose"] == "tune" and line["rate"] == 16 else line
                  for line in lines]
        for line in killed:
            if "failed" in line:
                del line["final"]
        self.assertEqual(sorted(rates([line for line in killed if "failed" in line], purpose="tune")), [16, 16])
        self.assertNotEqual(Arena("pretrain", killed).best["rate"], 16)


class Log(unittest.TestCase):
    def test_a_line_that_was_cut_is_taken_off(self):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "log.jsonl"
            self.assertEqual(lines_of(log), [])
            log.write_text('{"a": 1}\n{"a": 2}\n{"a": ')
            self.assertEqual(lines_of(log), [{"a": 1}, {"a": 2}])
            self.assertEqual(log.read_text(), '{"a": 1}\n{"a": 2}\n')

    def test_a_text_is_known_by_its_fingerprint(self):
        with tempfile.TemporaryDirectory() as folder:
            text = pathlib.Path(folder)
            (text / "a.py").write_text("x")
            (text / "b.txt").write_text("y")
            seen = [fingerprint(text, ".py"), fingerprint(text), fingerprint(text / "a.py")]
            fingerprint.cache_clear()
            (text / "b.txt").write_text("z")
            self.assertEqual(fingerprint(text, ".py"), seen[0])
            self.assertNotEqual(fingerprint(text), seen[1])
            self.assertEqual(fingerprint(text / "a.py"), seen[2])
            fingerprint.cache_clear()
            (text / "a.py").rename(text / "c.py")
            self.assertNotEqual(fingerprint(text, ".py"), seen[0])


class Harness(unittest.TestCase):
    def test_schedules(self):
        for kind, middle, late in (("cosine", 0.51, None), ("linear", 0.51, 0.118), ("wsd", 1, 0.51), ("constant", 1, 1)):
            recipe = Recipe(schedule=kind, warmup=0.1)
            self.assertAlmostEqual(schedule(4, 100, recipe), 0.5)
            self.assertAlmostEqual(schedule(55, 100, recipe), middle, msg=kind)
            if late is not None:
                self.assertAlmostEqual(schedule(91, 100, recipe), late, msg=kind)
        for kind in ("cosine", "linear", "wsd", "constant"):
            self.assertEqual(schedule(0, 100, Recipe(schedule=kind, warmup=0.0)), 1)

    def test_muon_and_adamw_share_their_rates(self):
        model = torch.nn.ModuleDict({"blocks": torch.nn.Linear(3, 3), "rest": torch.nn.Linear(3, 1)})
        both = MuonAndAdamW(model, 0.1)
        self.assertEqual(len(both.param_groups), 2)
        before = [p.detach().clone() for p in model.parameters()]
        for group in both.param_groups:
            group["lr"] = 0.0
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        both.step()
        self.assertTrue(all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)))
        for group in both.param_groups:
            group["lr"] = 0.1
        both.step()
        self.assertFalse(any(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)))

    def test_digits_are_split_once(self):
        task = DigitsTask(ARENAS["digits"], torch.device("cpu"))
        seen = [image.numpy().tobytes() for split in ("train", "gate", "validation") for image in task.splits[split][0]]
        self.assertGreater(len(seen), 1790)
        self.assertLessEqual(len(seen) - len(set(seen)), 5, "the data hold some images twice")
        first, second = (task.batch("train", 1, 2) for _ in range(2))
        self.assertTrue(torch.equal(first[0], second[0]))
        self.assertEqual(task.losses(task.model(0), first).shape, (32,))


class Runs(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name) / "results"

    def bench(self, *arguments):
        return subprocess.run([sys.executable, BENCH, self.folder, "--smoke", "--seeds", "1", *arguments],
                              capture_output=True, text=True, timeout=500)

    def lines(self):
        return [json.loads(line) for line in (self.folder / "any_rate.jsonl").read_text().splitlines()]

    def test_arenas_train_and_are_reported(self):
        arguments = ["--arenas", "digits", "pretrain-muon", "--variant", 'low={"rate.start": 0.25}']
        result = self.bench(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = self.lines()
        self.assertEqual([line for line in lines if "failed" in line], [])
        self.assertEqual({line["method"] for line in lines if line["arena"] == "digits"}, set(bench.METHODS))
        self.assertEqual({line["method"] for line in lines if line["arena"] == "pretrain-muon"},
                         {"alone", "leapverify", "leapverify-free", "leapverify-auto"})
        self.assertEqual({len(line["text"]) for line in lines if line["arena"] == "pretrain-muon"}, {16})
        self.assertTrue([line for line in lines if line["variant"] == "low"])
        self.assertEqual(self.bench(*arguments).returncode, 0)
        self.assertEqual(len(self.lines()), len(lines), "nothing is run twice")
        other = self.bench(*arguments[:-1], 'low={"rate.start": 0.5}')
        self.assertIn("holds runs of low with other options", other.stderr)
        done = subprocess.run([sys.executable, BENCH.with_name("report.py"), self.folder], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = (self.folder / "report.md").read_text()
        self.assertIn("| digits | leapverify:low | 2 of 1 |", report)
        self.assertTrue((self.folder / "any_rate.svg").read_text().startswith("<?xml"))

    def test_wrong_input(self):
        for arguments, words in ((["--seeds", "0"], "--seeds"), (["--arenas", "chess"], "chess"),
                                 (["--variant", "low"], "expected NAME={"), (["--variant", "leap={}"], "a new name"),
                                 (["--device", "cuda"], "--smoke is for the CPU")):
            result = self.bench(*arguments)
            self.assertEqual(result.returncode, 2)
            self.assertIn(words, result.stderr.splitlines()[-1])


class Report(unittest.TestCase):
    def test_multiples_are_named(self):
        self.assertEqual([times(one) for one in (1 / 256, 0.5, 1.0, 8.0)], ["1/256", "1/2", "1", "8"])


if __name__ == "__main__":
    unittest.main()

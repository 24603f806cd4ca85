"""The sweep tries everything, judges as the rules say, goes on where it was stopped, and names what fails.

Usage: ksweep_test.py PATH_OF_LEAPVERIFY PATH_OF_BENCH_KSWEEP_VERDICTS [unittest options]
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM, VERDICTS = (pathlib.Path(sys.argv.pop(1)).absolute() for _ in range(2))
BENCH = pathlib.Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))
import ksweep  # noqa: E402

PREDICTORS = ("linear", "quadratic", "quadratic_paper", "quadratic_code", "least_squares", "average", "outer_momentum",
              "ema_trend", "low_rank", "momentum")
HORIZONS = (5, 10, 25, 50, 75, 100)
# Of a smoke run: 13 checkpoints, without the first three and the last.
STEPS = range(40, 130, 10)

# Stops what it trains as soon as some checkpoints were observed, as somebody else might.
STOPS = """#!/usr/bin/env python3
import pathlib, subprocess, sys, time
training = subprocess.Popen([{program!r}, *sys.argv[1:]])
if sys.argv[1] == "train":
    trace = pathlib.Path(sys.argv[sys.argv.index("--run") + 1]) / "trace.jsonl"
    while training.poll() is None and not (trace.exists() and len(trace.read_text().splitlines()) > 5):
        time.sleep(0.01)
    training.terminate()
sys.exit(training.wait())
"""

FAILS = """#!/bin/sh
case "$*" in *leapverify.cascade=2*) exec '{program}' "$@" ;; esac
echo "a first line" >&2
echo "leapverify: no such luck" >&2
exit 1
"""


def run(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=280)


class Folder(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="leapverify test ")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)


class Verdicts(Folder):
    def judge(self, tries, sequences=32):
        """Rules that accept, for the losses (reference, candidate) at steps 1, 2, …"""
        events = [{"event": "candidate", "step": step, "predictor": "linear", "horizon": 5,
                   "reference_losses": reference, "candidate_losses": candidate}
                  for step, (reference, candidate) in enumerate(tries, 1)]
        trace = self.folder / "trace.jsonl"
        trace.write_text("".join(json.dumps(event) + "\n" for event in [{"event": "start", "step": 0}, *events]))
        self.result = run(VERDICTS, sequences, trace)
        return [json.loads(line) for line in self.result.stdout.splitlines()]

    def accepted(self, reference, candidate):
        return set(self.judge([([reference] * 32, [candidate] * 32)])[0]["accepted"])

    def test_are_those_of_each_rule(self):
        betting = {"sequential", "sequential_all"}
        # Without earlier losses, adaptive allows nothing beyond strict.
        self.assertEqual(self.accepted(2.0, 1.999), {"strict", "adaptive", "proximity", "proximity_code"} | betting)
        self.assertEqual(self.accepted(2.0, 1.5), {"strict", "adaptive", "proximity_code"} | betting)
        self.assertEqual(self.accepted(2.0, 2.0), {"proximity", "proximity_code"})
        self.assertEqual(self.accepted(2.0, 2.009), {"proximity", "proximity_code"})
        self.assertEqual(self.accepted(2.0, 2.011), {"proximity"})
        self.assertEqual(self.accepted(2.0, 2.099), {"proximity"})
        self.assertEqual(self.accepted(2.0, 2.101), set())
        self.assertEqual(self.accepted(2.0, "nan"), set())
        self.assertEqual(self.accepted(2.0, "inf"), set())

    def test_adaptive_allows_the_spread_of_earlier_tries(self):
        # Standard deviation of 3 and 5: √2.
        for excess, expected in ((-0.01, True), (0.01, False)):
            means = ((3, 9), (5, 9), (4, 4 + math.sqrt(2) + excess))
            tries = [([loss] * 32, [candidate] * 32) for loss, candidate in means]
            self.assertEqual("adaptive" in self.judge(tries)[-1]["accepted"], expected)

    def test_published_rules_see_the_first_sequences_alone(self):
        line = self.judge([([2.0] * 64, [2.05, 1.951] * 16 + [1.95] * 32)])[0]
        self.assertEqual(line["accepted"], ["proximity", "proximity_code", "sequential_all"])
        self.assertAlmostEqual(line["reference_loss"], 2.0)
        self.assertAlmostEqual(line["candidate_loss"], 2.0005)
        self.assertAlmostEqual(line["gain"], (0.05 - 0.0005) / 2)

    def test_wrong_traces_get_one_line(self):
        few = [([2.0] * 20, [2.0] * 20)]
        for tries, sequences, words in (([], 32, "no candidate"),
                                        (few, 32, "losses of 20 sequences, expected at least 32"),
                                        (few, 0, "SEQUENCES at least 1")):
            self.judge(tries, sequences)
            self.assertEqual(self.result.returncode, 1)
            self.assertEqual(len(self.result.stderr.strip().splitlines()), 1, self.result.stderr)
            self.assertIn(words, self.result.stderr)


class Lines(unittest.TestCase):
    def setUp(self):
        self.trace = [{"event": "observation", "step": step, "action": "try", "reading": "stable"} for step in STEPS]

    def lines(self, verdicts):
        return ksweep.candidate_lines("fp16", ksweep.SIZES["smoke"], self.trace, verdicts)

    def test_candidates_behind_one_that_is_not_finite_are_named(self):
        tried = [{"step": step, "horizon": horizon, "candidate_loss": 3.0, "accepted": ["strict"]}
                 for step in STEPS for horizon in HORIZONS if (step, horizon) < (120, 50)]
        lines = self.lines(tried)
        self.assertEqual(len(lines), len(STEPS) * len(HORIZONS))
        self.assertEqual([line["horizon"] for line in lines if "not_tried" in line], [50, 75, 100])
        self.assertEqual({tuple(line["accepted"]) for line in lines if "not_tried" in line}, {()})

    def test_a_checkpoint_without_tries_fails_the_run(self):
        self.trace[3] = {**self.trace[3], "action": "wait", "reason": "overhead cap reached"}
        with self.assertRaisesRegex(ksweep.Failed, "step 70: nothing was tried: overhead cap reached"):
            self.lines([])


class Sweep(Folder):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="leapverify test ")
        cls.addClassCleanup(temporary.cleanup)
        cls.whole = pathlib.Path(temporary.name) / "sweep"
        cls.text = pathlib.Path(temporary.name) / "text.txt"
        cls.text.write_text("".join(f"line {i}: {i * i % 97} apples\n" for i in range(3000)))
        cls.first = cls.sweep(cls.programs(pathlib.Path(temporary.name)), cls.whole)

    @staticmethod
    def programs(folder, script="""#!/bin/sh\nexec '{program}' "$@"\n"""):
        """A program in the trainer's place, and beside it the one that judges."""
        os.symlink(VERDICTS, folder / "bench_ksweep_verdicts")
        program = folder / "leapverify"
        program.write_text(script.format(program=str(PROGRAM)))
        program.chmod(0o755)
        return program

    @classmethod
    def sweep(cls, program, folder, *arguments, status=0):
        result = run(sys.executable, BENCH / "ksweep.py", program, cls.text, folder, "--smoke", "--seeds", "42",
                     *arguments)
        if result.returncode != status:
            raise AssertionError(f"ended with {result.returncode}: {result.stdout}{result.stderr}")
        return result.stdout

    def lines(self, folder):
        return [json.loads(line) for line in (folder / "ksweep.jsonl").read_text().splitlines()]

    def choose(self, folder, **wanted):
        return [line for line in self.lines(folder) if wanted.items() <= line.items()]

    def test_every_candidate_is_there(self):
        for kind, predictors in (("shadow", PREDICTORS), ("fp16", ("momentum",))):
            found = self.choose(self.whole, event="candidate", run=kind)
            self.assertEqual(
                [(line["step"], line["predictor"], line["horizon"]) for line in found],
                [(step, predictor, horizon) for step in STEPS for predictor in predictors for horizon in HORIZONS])
            self.assertTrue(all(line["candidate_loss"] > 0 and "not_tried" not in line for line in found))
        observed = self.choose(self.whole, event="observation", run="shadow")
        self.assertEqual([line["step"] for line in observed], list(range(10, 140, 10)))
        self.assertEqual([line["regime"] for line in observed if line["regime"] == "unknown"], ["unknown"])
        self.assertLess(observed[-1]["loss"], observed[0]["loss"])
        regimes = {line["step"]: line["regime"] for line in observed}
        for line in self.choose(self.whole, event="candidate"):
            self.assertEqual(line["regime"], regimes[line["step"]])
            if line["candidate_loss"] != line["reference_loss"]:
                self.assertEqual("strict" in line["accepted"], line["candidate_loss"] < line["reference_loss"])

    def test_moments_in_fp16_predict_from_the_same_weights(self):
        fp16 = self.choose(self.whole, event="candidate", moments="fp16")
        fp32 = self.choose(self.whole, event="candidate", moments="fp32", predictor="momentum")
        self.assertEqual([line["reference_loss"] for line in fp16], [line["reference_loss"] for line in fp32])
        self.assertNotEqual([line["candidate_loss"] for line in fp16], [line["candidate_loss"] for line in fp32])

    def test_links_of_a_cascade_follow_while_they_hold(self):
        for depth, horizon in ((4, 25), (2, 50), (10, 10)):
            links = self.choose(self.whole, event="link", depth=depth, horizon=horizon)
            self.assertGreater(len(links), 0)
            for before, line in zip([None, *links], links):
                self.assertLessEqual(line["link"], depth)
                if line["link"] > 1:
                    self.assertEqual((before["link"], before["start"], before["held"]),
                                     (line["link"] - 1, line["start"], True))

    def test_goes_on_where_it_was_stopped_to_the_same_lines(self):
        program = self.programs(self.folder, STOPS)
        folder = self.folder / "sweep"
        said = self.sweep(program, folder, "--jobs", "1")
        self.assertIn("shadow of seed 42: stopped, goes on when called again", said)
        self.assertTrue((folder / "runs" / "shadow-42" / "checkpoints" / "latest").exists())
        said = self.sweep(program, folder)
        self.assertIn("shadow of seed 42: done", said)
        self.assertEqual((folder / "ksweep.jsonl").read_bytes(), (self.whole / "ksweep.jsonl").read_bytes())
        self.assertEqual([one.name for one in (folder / "runs").iterdir()], ["text"])
        self.assertEqual(self.sweep(program, folder), "")

    def test_does_nothing_in_no_time(self):
        folder = self.folder / "sweep"
        self.assertIn("5 of 5 runs are left", self.sweep(self.programs(self.folder), folder, "--seconds", "0"))
        self.assertFalse((folder / "ksweep.jsonl").exists())

    def test_names_what_failed_and_goes_on(self):
        folder = self.folder / "sweep"
        program = self.programs(self.folder, FAILS)
        said = self.sweep(program, folder, status=1)
        self.assertIn("shadow of seed 42: failed: leapverify: no such luck", said)
        runs = {line["run"]: line.get("failed") for line in self.choose(folder, event="run")}
        failed = ("shadow", "fp16", "cascade-4x25", "cascade-10x10")
        self.assertEqual(runs, {**dict.fromkeys(failed, "leapverify: no such luck"), "cascade-2x50": None})
        self.assertEqual(self.choose(folder, run="cascade-2x50"), self.choose(self.whole, run="cascade-2x50"))
        said = self.sweep(program, folder, status=1)
        self.assertIn("shadow of seed 42: failed", said)
        self.assertNotIn("cascade-2x50", said)

    def test_large_models_train_with_their_settings_once_they_are_small(self):
        small = {"gpt2-124m": {"model.gpt2.vocab_size": 256, "model.gpt2.n_embd": 32, "model.gpt2.n_head": 2,
                               "model.gpt2.n_layer": 1},
                 "qwen2.5-1.5b": {"model.qwen2.vocab_size": 256, "model.qwen2.hidden_size": 32,
                                  "model.qwen2.intermediate_size": 32, "model.qwen2.num_attention_heads": 2,
                                  "model.qwen2.num_hidden_layers": 1}}
        of_a_cpu = {"run.precision": "fp32", "run.cuda_graph": "false", "batch.context": 16, "run.steps": 101}
        self.assertEqual(set(small), set(ksweep.MODELS["cuda"]))
        for model, sizes in small.items():
            for kind in ("shadow", "cascade-2x50"):
                settings = {**ksweep.settings_of(kind, 42, ksweep.SIZES[model], "cpu"), **sizes, **of_a_cpu}
                overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
                folder = self.folder / f"{model} {kind}"
                result = run(PROGRAM, "train", "--preset", ksweep.SIZES[model].preset, "--data", self.text, "--run", folder,
                             *overrides)
                self.assertEqual(result.returncode, 0, result.stderr)

    def test_published_figures_are_those_of_the_model(self):
        lines = self.lines(self.whole)
        for line in lines:
            if line["event"] == "run":
                line["model"] = ksweep.SIZES["qwen2.5-1.5b"].name
        (self.folder / "ksweep.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        result = run(sys.executable, BENCH / "ksweep_table.py", self.folder, self.folder / "table.md")
        self.assertEqual(result.returncode, 0, result.stderr)
        text = (self.folder / "table.md").read_text()
        self.assertIn("| published, Qwen2.5-1.5B | 25.6 | 12.4 | 1.0 |", text)
        self.assertNotIn("GPT-2", text)

    def test_a_model_too_large_for_the_cpu_is_refused(self):
        result = run(sys.executable, BENCH / "ksweep.py", self.programs(self.folder), self.text, self.folder, "--model",
                     "qwen2.5-1.5b")
        self.assertEqual(result.returncode, 2)
        self.assertIn("--model qwen2.5-1.5b does not go with --device cpu, but demo", result.stderr)

    def test_a_folder_is_of_one_text(self):
        folder, program = self.folder / "sweep", self.programs(self.folder)
        self.sweep(program, folder, "--seconds", "0")
        other = self.folder / "other.txt"
        other.write_text("another text\n" * 3000)
        for log in (None, self.whole / "ksweep.jsonl"):
            if log:
                (folder / "runs" / "text").unlink()
                (folder / "ksweep.jsonl").write_bytes(log.read_bytes())
            result = run(sys.executable, BENCH / "ksweep.py", program, other, folder, "--smoke", "--seeds", "42")
            self.assertEqual(result.returncode, 1)
            self.assertIn("holds runs on another text", result.stderr)

    def test_without_the_run_that_nothing_changed_there_are_no_tables(self):
        lines = [line for line in self.lines(self.whole) if line["run"] == "fp16"]
        (self.folder / "ksweep.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        result = run(sys.executable, BENCH / "ksweep_table.py", self.folder, self.folder / "table.md")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("**Not run:** shadow of seed 42", (self.folder / "table.md").read_text())

    def test_a_folder_is_of_one_model(self):
        result = run(sys.executable, BENCH / "ksweep.py", self.programs(self.folder), self.text, self.whole)
        self.assertEqual(result.returncode, 1)
        self.assertIn("holds a run of {'model': 'smoke', 'steps': 130}, expected {'model': 'byte-level GPT",
                      result.stderr)

    def test_tables_are_of_all_folders(self):
        other = self.folder / "other"
        other.mkdir()
        lines = [{**line, "seed": 43} for line in self.lines(self.whole) if line["run"] != "fp16"]
        lines = [line for line in lines if line["run"] != "cascade-2x50"]
        failed = {**self.choose(self.whole, event="run", run="fp16")[0], "seed": 43, "failed": "no such luck"}
        (other / "ksweep.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, failed]))
        table = self.folder / "table.md"
        result = run(sys.executable, BENCH / "ksweep_table.py", self.whole, other, table)
        self.assertEqual(result.returncode, 0, result.stderr)
        text = table.read_text()
        self.assertIn("seeds 42, 43.", text)
        self.assertIn("- fp16 of seed 43: no such luck", text)
        self.assertIn("**Not run:** cascade-2x50 of seed 43.", text)
        self.assertIn("all, 18 checkpoints:", text)
        last = {line["run"]: line["loss"] for line in self.choose(self.whole, event="observation")}
        shown = [f"{last[kind]:.4f}" for kind in ("shadow", "cascade-4x25", "cascade-2x50", "cascade-10x10")]
        self.assertIn(f"| 42 | {' | '.join(shown)} |", text)
        self.assertIn(f"| 43 | {' | '.join([*shown[:2], '–', shown[3]])} |", text)
        of_linear = self.choose(self.whole, event="candidate", predictor="linear", horizon=5)
        share = 100 * sum("strict" in line["accepted"] for line in of_linear) / len(of_linear)
        strict = text[text.index("strict: L̂ < L; all"):]
        row = next(line for line in strict.splitlines() if line.startswith("| linear |"))
        self.assertTrue(row.startswith(f"| linear | {share:.1f} ["), row)
        self.assertIn("<svg", table.with_suffix(".svg").read_text())

    def test_reports_and_comparisons_know_it(self):
        folder = self.folder / "results"
        folder.mkdir()
        (folder / "ksweep.jsonl").write_bytes((self.whole / "ksweep.jsonl").read_bytes())
        (folder / "environment.txt").write_text("no GPU\n 2 cpu Some Processor\n")
        result = run(sys.executable, BENCH / "report.py", folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        text = (folder / "report.md").read_text()
        self.assertIn("## The published experiment again", text)
        self.assertIn("![acceptance by strict](ksweep.svg)", text)
        self.assertIn("<svg", (folder / "ksweep.svg").read_text())

        changed = self.folder / "changed"
        changed.mkdir()
        (changed / "environment.txt").write_bytes((folder / "environment.txt").read_bytes())
        refused = [{**line, "accepted": []} if "accepted" in line else line for line in self.lines(self.whole)]
        (changed / "ksweep.jsonl").write_text("".join(json.dumps(line) + "\n" for line in refused))
        of_linear = self.choose(self.whole, event="candidate", predictor="linear", horizon=5)
        share = sum("strict" in line["accepted"] for line in of_linear) / len(of_linear)
        self.assertGreater(share, 0)
        said = run(sys.executable, BENCH / "compare.py", folder, changed).stdout
        self.assertIn(f"linear, 5 steps ahead: accepted by strict: {share:.4g} → 0 share", said)


if __name__ == "__main__":
    unittest.main()

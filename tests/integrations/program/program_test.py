"""The program as a user runs it: training, resuming after a kill, and one clear line for bad input.

Usage: program_test.py PATH_OF_LEAPVERIFY [unittest options]
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = sys.argv.pop(1)
CHECKPOINT_FILES = ("model", "optimizer", "leapverify", "random")

CONFIG = """
run: {steps: 60, log_every: 5, eval_every: 20, eval_sequences: 8, checkpoint_every: 10, device: cpu,
      threads: 1, sample_bytes: 20}
data: {gate_share: 0.2, validation_share: 0.1}
model: {context: 16, width: 16, heads: 2, layers: 1, dropout: 0.1}
batch: {sequences: 8}
optimizer: {lr: 1.0e-2}
schedule: {warmup: 5}
leapverify:
  preset: verified
  enabled: true
  observe_every: 5
  first_leap: 10
  least_regime: chaotic
  max_overhead: inf
  max_backoff: 1
  horizons: [2, 4]
  predictor: linear
  reference: current
  on_accept: leap
  probes: 8
  verification: {rule: proximity, sequences: 16, proximity_tolerance: 0.02}
"""
TRAINING_ALONE = CONFIG[:CONFIG.index("leapverify:")]

# Ways to try and to follow leaps beside the config's: overrides under leapverify, and what rejects everything there.
REJECT = "verification.proximity_tolerance=1e-12"
WAYS = {
    "raced": (["verification.when=raced", "verification.settle_steps=3"], REJECT),
    # Sixty steps are too few to judge forecasts by with the default alpha.
    "settled": (["verification.when=settled", "verification.settle_steps=3"], "verification.alpha=0.05"),
    "next_batch": (["gate=next_batch", "verification.sequences=8"], REJECT),
    "skip and advance": (["data=skip", "schedule=advance"], REJECT),
    "cascade": (["cascade=3", "horizons=[7]"], REJECT),
    "portfolio": (["predictor=portfolio", "portfolio=[linear, average]", "verification.rule=strict"],
                  "verification.margin=1000"),
}


def leapverify(*arguments, **options):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, **options)


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="leapverify test ")
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)
        self.text = self.folder / "text.txt"
        self.text.write_text("".join(f"line {i}: {i * i % 97} apples\n" for i in range(3000)))
        self.config = self.folder / "config.yaml"
        self.config.write_text(CONFIG)

    def kill_and_resume(self, run, *arguments):
        """A run killed after its second checkpoint and resumed: the result of resuming."""
        process = subprocess.Popen(
            [PROGRAM, "train", self.config, "--data", self.text, "--run", run, *arguments],
            stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (run / "checkpoints" / "step-20").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        return leapverify("resume", run)

    def train(self, run, *arguments):
        return leapverify("train", self.config, "--data", self.text, "--run", run, *arguments)

    def assert_refused(self, result, *words):
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        lines = result.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, result.stderr)
        for word in words:
            self.assertIn(str(word), lines[0])

    def events(self, run, kind):
        lines = (run / "trace.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def final_state(self, run):
        _, name = (run / "checkpoints" / "latest").read_text().split()
        latest = run / "checkpoints" / name
        return {name: hashlib.sha256((latest / f"{name}.safetensors").read_bytes()).hexdigest()
                for name in CHECKPOINT_FILES}


class Training(ProgramTest):
    def test_leaves_a_run_folder_that_tells_the_run(self):
        run = self.folder / "run"
        result = self.train(run)
        self.assertEqual(result.returncode, 0, result.stderr)
        for name in ("config.yaml", "trace.jsonl", "metrics.jsonl", "checkpoints/latest"):
            self.assertTrue((run / name).exists(), name)
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        losses = [line["train_loss"] for line in metrics if "train_loss" in line]
        self.assertGreater(losses[0], 5)
        self.assertLess(losses[-1], 3.5)
        self.assertEqual(metrics[-1]["step"], 60)
        self.assertIn("validation_loss", metrics[-1])

    def test_validates_at_the_average_on_request(self):
        for reference, expected in (("denoised", True), ("current", False)):
            run = self.folder / reference
            result = self.train(run, "--set", "run.eval_average=true", "--set",
                                f"leapverify.reference={reference}")
            self.assertEqual(result.returncode, 0, result.stderr)
            metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            scored = [line for line in metrics if "validation_loss" in line]
            self.assertEqual(["average_validation_loss" in line for line in scored],
                             [expected] * len(scored))
            self.assertEqual("at the average of the recent weights" in result.stdout, expected)
            for line in scored if expected else []:
                self.assertNotEqual(line["average_validation_loss"], line["validation_loss"])

    def test_profiles_steps_on_request(self):
        run = self.folder / "run"
        alone = ("--set", "leapverify.enabled=false")
        result = self.train(run, *alone, "--set", "run.profile_steps=2")
        self.assertEqual(result.returncode, 0, result.stderr)
        names = [event.get("name") for event in json.loads((run / "profile.json").read_text())["traceEvents"]]
        # A step of each kind of parameter: matrices, embeddings, vectors.
        self.assertEqual(names.count("aten::_fused_adamw_"), 2 * 3)
        self.assertIn("autograd::engine::evaluate_function: AddmmBackward0", names)
        self.assertNotIn("ERROR", result.stderr)
        for name, steps, written in (("plain", 0, False), ("at the end", 100, True)):
            self.train(self.folder / name, *alone, "--set", f"run.profile_steps={steps}")
            self.assertEqual((self.folder / name / "profile.json").exists(), written, name)
        short = self.train(self.folder / "short", *alone, "--set", "run.profile_steps=2", "--set", "run.steps=10")
        self.assertIn("no profile: the run took no more than 10 steps", short.stdout)

    def test_summary_can_be_recomputed_from_the_trace(self):
        run = self.folder / "run"
        result = self.train(run)
        leaps = self.events(run, "leap")
        start = self.events(run, "start")[0]
        accepted = [leap for leap in leaps if leap["outcome"] == "committed"]
        observed = [event for event in self.events(run, "observation") if "probe_loss" in event]
        probes = len(observed) * start["options"]["probes"]
        forwards = probes + sum(leap["forwards"] for leap in leaps)
        saved = sum(leap["steps_saved"] for leap in accepted)
        share = 100 * forwards / (forwards + 60 * start["step_cost"])
        self.assertGreater(len(accepted), 0)
        self.assertGreater(len(leaps), len(accepted))
        self.assertIn(f"leaps: {len(leaps)} tried, {len(accepted)} accepted, about {saved:.1f} "
                      f"steps saved; {forwards} forward passes of a sequence, {share:.2f} % of all "
                      "cost\n", result.stdout)

    def test_summary_splits_off_what_the_cap_does_not_count(self):
        run = self.folder / "run"
        result = self.train(run, "--set", "leapverify.on_accept=rate")
        raised = {event["step"] for event in self.events(run, "rate")
                  if event["to"] > event["from"]}
        leaps = self.events(run, "leap")
        forwards = sum(leap["forwards"] for leap in leaps if leap["step"] in raised)
        self.assertGreater(len(raised), 0)
        self.assertLess(len(raised), len(leaps))
        self.assertIn(f"% of all cost ({forwards} passes in tries that raised the learning rate, "
                      "outside the cap)\n", result.stdout)

    def test_a_free_rate_says_that_nothing_is_verified(self):
        self.config.write_text(TRAINING_ALONE + "leapverify: {enabled: true, preset: free}\n")
        result = self.train(self.folder / "run", "--set", "run.eval_average=true")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("leapverify   free rate, ends at the average, nothing is verified, ", result.stdout)
        self.assertRegex(result.stdout, r"the learning rate ended at \d\S*\n")
        self.assertNotIn("leaps: ", result.stdout)
        self.assertIn("run.eval_average has no effect: with a free rate", result.stdout)
        self.assertNotIn("average_validation_loss", (self.folder / "run" / "metrics.jsonl").read_text())
        self.assertEqual(self.events(self.folder / "run", "leap"), [])

    def test_enabled_alone_is_looked_at_and_validates_and_keeps_what_it_is_for(self):
        self.config.write_text(TRAINING_ALONE + "leapverify: {enabled: true, max_overhead: 1}\n")
        run = self.folder / "run"
        result = self.train(run, "--set", "run.keep_checkpoints=9")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("leapverify   free rate, ends at the average, 8 looks at held-out loss, ", result.stdout)
        looks = self.events(run, "look")
        self.assertEqual([look["step"] for look in looks], [1, 4, 9, 15, 24, 34, 46, 60])
        backward = [look for look in looks if look["outcome"] == "went_back"]
        self.assertIn(f"looks at held-out loss: 8, after which it went back: {len(backward)}; ", result.stdout)
        scored = {line["step"]: line["validation_loss"] for line in
                  map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "validation_loss" in line}
        # The weights of training at step 20 were others: those are made again of what is kept beside.
        alone = leapverify("resume", run, "--step", 20, "--set", "leapverify.enabled=false", "--set", "run.steps=20")
        self.assertEqual(alone.returncode, 0, alone.stderr)
        self.assertIn(f"validation loss {scored[20]:.4f} ", alone.stdout)

    def test_enabled_alone_resumed_after_a_kill_is_bitwise_the_run(self):
        self.config.write_text(TRAINING_ALONE + "leapverify: {enabled: true, max_overhead: 1}\n")
        whole, killed = self.folder / "whole", self.folder / "killed"
        self.assertEqual(self.train(whole).returncode, 0)
        result = self.kill_and_resume(killed)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.final_state(whole), self.final_state(killed))
        self.assertEqual((whole / "trace.jsonl").read_bytes(), (killed / "trace.jsonl").read_bytes())

    def test_enabled_alone_reads_no_keys_of_tries(self):
        self.config.write_text(TRAINING_ALONE + "leapverify: {enabled: true, predictor: linear}\n")
        self.assert_refused(self.train(self.folder / "run"), "leapverify.predictor: linear is not legal", "preset: verified")

    def test_enabled_alone_says_where_no_look_is_paid_for(self):
        self.config.write_text(TRAINING_ALONE + "leapverify: {enabled: true}\n")
        result = self.train(self.folder / "run")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("0 looks at held-out loss, ", result.stdout)
        self.assertIn("held-out loss is not looked at, so that the run cannot go back: one look takes ", result.stdout)

    def test_start_names_the_ways_other_than_the_default(self):
        result = self.train(self.folder / "run", "--set", "leapverify.verification.when=raced",
                            "--set", "leapverify.cascade=3")
        self.assertIn("mode leap, on_accept leap, when raced, cascade 3, ", result.stdout)
        result = self.train(self.folder / "rate", "--set", "leapverify.on_accept=rate")
        self.assertRegex(result.stdout, r"mode leap, \S+ bytes of extra memory")

    def test_a_cap_that_pays_for_no_try_is_said_at_the_start(self):
        words = "nothing will be tried"
        race = ["--set", "leapverify.verification.when=raced"]
        # 16 sequences after 20 steps of 24 forwards for each side, 2 × 16 to value a winner, and
        # the canary's 3 × 2; the cap is 0.01 · 60 · 24.
        for override, forwards in ((race, 2 * (16 + 20 * 24) + 32 + 6), ([], 2 * 16 + 32 + 6)):
            run = self.folder / str(forwards)
            result = self.train(run, "--set", "leapverify.max_overhead=0.01", *override)
            self.assertIn(f"{words}: that takes at least {forwards} forward passes of a sequence, "
                          "and leapverify.max_overhead = 0.01 allows 14\n", result.stdout)
            self.assertEqual(self.events(run, "leap"), [])
        self.assertNotIn(words, self.train(self.folder / "uncapped", *race).stdout)

    def test_a_run_that_ends_before_a_first_try_says_so_at_the_start(self):
        words = "no leap will be tried: the snapshots that predictor linear needs span 30 of 30 steps"
        short = self.train(self.folder / "short", "--set", "run.steps=30", "--set", "leapverify.observe_every=15",
                           "--set", "leapverify.predictor=linear", "--set", "leapverify.horizons=[]")
        self.assertIn(words, short.stdout)
        self.assertEqual(self.events(self.folder / "short", "leap"), [])

    def test_batches_too_small_to_accept_on_are_said_at_the_start(self):
        sequential = ["--set", "leapverify.gate=next_batch", "--set",
                      "leapverify.verification.rule=sequential"]
        for size, passes, said in ((31, 1, True), (8, 3, True), (32, 1, False), (16, 2, False)):
            result = self.train(self.folder / f"{size} {passes}", *sequential, "--set",
                                f"batch.sequences={size}", "--set", f"batch.accumulate={passes}")
            words = f"hardly anything will be accepted: batch.sequences · batch.accumulate is {size * passes}, "
            self.assertEqual(words in result.stdout, said, size)
            self.assertIn(", gate next_batch, ", result.stdout)

    def test_activations_of_no_probes_are_said_to_tell_no_regime(self):
        words = "no regime will be told: detector.signal: activation_cosine needs"
        activations = ["--set", "leapverify.detector.signal=activation_cosine"]
        without = self.train(self.folder / "without", *activations, "--set", "leapverify.probes=0")
        self.assertIn(words, without.stdout)
        self.assertNotIn(words, self.train(self.folder / "with", *activations).stdout)

    def test_off_and_all_rejected_train_alike(self):
        states = []
        for name, override in (("off", "leapverify.enabled=false"),
                               ("rejected", "leapverify.verification.proximity_tolerance=1e-12")):
            run = self.folder / name
            self.assertEqual(self.train(run, "--set", override).returncode, 0)
            state = self.final_state(run)
            del state["leapverify"]
            states.append(state)
        rejected = self.events(self.folder / "rejected", "leap")
        self.assertGreater(len(rejected), 3)
        self.assertEqual({leap["outcome"] for leap in rejected}, {"rejected"})
        self.assertEqual(states[0], states[1])

    def test_killed_and_resumed_is_bitwise_the_uninterrupted_run(self):
        whole, killed = self.folder / "whole", self.folder / "killed"
        self.assertEqual(self.train(whole).returncode, 0)
        resumed = self.kill_and_resume(killed)
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertIn("resumed", resumed.stdout)
        self.assertEqual(self.final_state(whole), self.final_state(killed))
        self.assertEqual((whole / "trace.jsonl").read_bytes(),
                         (killed / "trace.jsonl").read_bytes())

    def test_interrupt_leaves_a_checkpoint_and_says_how_to_go_on(self):
        run = self.folder / "run"
        process = subprocess.Popen(
            [PROGRAM, "train", self.config, "--data", self.text, "--run", run, "--set",
             "run.steps=100000"], stdout=subprocess.PIPE, text=True)
        while not (run / "checkpoints" / "latest").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0)
        self.assertIn("continue with: leapverify resume", output)

    def test_interrupt_before_the_first_step_leaves_nothing_to_resume(self):
        run = self.folder / "run"
        # A model that takes a while to make, and the mask of the signals that the program catches.
        process = subprocess.Popen(
            [PROGRAM, "train", self.config, "--data", self.text, "--run", run, "--set", "model.width=512",
             "--set", "model.layers=8"], stdout=subprocess.PIPE, text=True)
        status = pathlib.Path(f"/proc/{process.pid}/status")
        while not int(re.search(r"SigCgt:\s*(\w+)", status.read_text()).group(1), 16) & 1 << signal.SIGINT - 1:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0)
        self.assertIn(f"stopped before the first step: there is no checkpoint to resume from; remove '{run}'", output)
        self.assertNotIn("continue with", output)
        shutil.rmtree(run)
        self.assertEqual(self.train(run).returncode, 0)

    def test_finished_run_can_be_resumed_and_extended(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        metrics = (run / "metrics.jsonl").read_text().count("validation_loss")
        self.assertEqual(leapverify("resume", run).returncode, 0)
        self.assertEqual(metrics, (run / "metrics.jsonl").read_text().count("validation_loss"))
        longer = leapverify("resume", run, "--set", "run.steps=70", cwd=self.folder)
        self.assertIn("70 steps", longer.stdout)
        resumed = self.events(run, "resume")
        self.assertEqual([(event["step"], event["planned_steps"]) for event in resumed], [(60, 70)])
        again = leapverify("resume", run)
        self.assertEqual(again.returncode, 0)
        self.assertNotIn("->", again.stdout)

    def test_what_a_resumed_run_does_otherwise_is_shown_and_traced(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        # As a run leaves it that was killed before its next checkpoint: the last one still counts.
        for rate in ("0.5", "0.02"):
            result = leapverify("resume", run, "--set", f"optimizer.lr={rate}")
            self.assertIn(f"optimizer.lr: 0.01 -> {rate}\n", result.stdout)
        self.assertEqual(result.stdout.count("->"), 1)
        self.assertEqual(self.events(run, "config"), [
            {"event": "config", "step": 60, "changed": {"optimizer.lr": {"from": "0.01",
                                                                         "to": "0.02"}}}])

    def test_resumed_at_an_earlier_step_is_bitwise_the_run(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        state, trace = self.final_state(run), (run / "trace.jsonl").read_bytes()
        # Ends where it begins: nothing is trained, and nothing saved.
        ended = leapverify("resume", run, "--step", 50, "--set", "run.steps=50")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertLess(len((run / "trace.jsonl").read_bytes()), len(trace))
        resumed = leapverify("resume", run, "--set", "run.steps=60")
        self.assertIn("resumed      at step 50\n", resumed.stdout)
        self.assertEqual(self.final_state(run), state)
        self.assertEqual((run / "trace.jsonl").read_bytes(), trace)

    def test_relative_paths_hold_from_anywhere(self):
        run, moved, elsewhere = self.folder / "run", self.folder / "moved.txt", self.folder / "elsewhere"
        elsewhere.mkdir()
        result = leapverify("train", self.config, "--data", self.text.name, "--run", run, cwd=self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.text.rename(moved)
        result = leapverify("resume", run, "--set", f"data.path={moved.name}", "--set", "run.steps=70", cwd=self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        result = leapverify("resume", run, "--set", "run.steps=80", cwd=elsewhere)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("80 steps", result.stdout)

    def test_data_path_may_hold_any_character(self):
        odd = self.folder / "a: b, #c [d] 'e'.txt"
        self.text.rename(odd)
        result = leapverify("train", self.config, "--data", odd, "--run", self.folder / "run")
        self.assertEqual(result.returncode, 0, result.stderr)


class EveryWay(ProgramTest):
    def set(self, words):
        return [word for override in words for word in ("--set", f"leapverify.{override}")]

    def test_off_and_all_rejected_train_alike(self):
        off = self.folder / "off"
        self.assertEqual(self.train(off, *self.set(["enabled=false"])).returncode, 0)
        expected = self.final_state(off)
        del expected["leapverify"]
        for way, (words, reject) in WAYS.items():
            with self.subTest(way):
                run = self.folder / way
                result = self.train(run, *self.set([*words, reject]))
                self.assertEqual(result.returncode, 0, result.stderr)
                rejected = self.events(run, "leap")
                self.assertGreater(len(rejected), 3)
                self.assertEqual({leap["outcome"] for leap in rejected}, {"rejected"})
                state = self.final_state(run)
                del state["leapverify"]
                self.assertEqual(state, expected)

    def test_killed_and_resumed_is_bitwise_the_uninterrupted_run(self):
        for way, (words, _) in WAYS.items():
            with self.subTest(way):
                whole, killed = self.folder / way, self.folder / f"{way} killed"
                self.assertEqual(self.train(whole, *self.set(words)).returncode, 0)
                self.assertGreater(len(self.events(whole, "leap")), 1)
                resumed = self.kill_and_resume(killed, *self.set(words))
                self.assertEqual(resumed.returncode, 0, resumed.stderr)
                self.assertEqual(self.final_state(whole), self.final_state(killed))
                self.assertEqual((whole / "trace.jsonl").read_bytes(),
                                 (killed / "trace.jsonl").read_bytes())


def percentile(values, percent):
    """With linear interpolation between the order statistics."""
    values = sorted(values)
    position = percent / 100 * (len(values) - 1)
    below = int(position)
    return values[below] + (position - below) * (values[min(below + 1, len(values) - 1)] -
                                                 values[below])


class CalibrateRegimes(ProgramTest):
    def calibrated_run(self, *overrides):
        run = self.folder / "run"
        sets = [word for override in ("leapverify.first_leap=1000", *overrides)
                for word in ("--set", override)]
        self.assertEqual(self.train(run, *sets).returncode, 0)
        return run

    def printed(self, run):
        result = leapverify("calibrate-regimes", run)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout, dict(re.findall(r"^leapverify\.detector\.(\w+): (.+)$", result.stdout,
                                              re.MULTILINE))

    def test_thresholds_are_the_percentiles_of_the_signals_in_the_trace(self):
        run = self.calibrated_run("leapverify.detector.stable_percentile=80")
        signals = [event["signal"] for event in self.events(run, "observation")
                   if "signal" in event]
        self.assertEqual(len(signals), 10, "12 observations, 2 of them without two moves")
        text, values = self.printed(run)
        self.assertIn("Percentiles 80 and 30 of 10 signals, taken every 5 steps", text)
        self.assertEqual(values["signal"], "delta_cosine")
        self.assertEqual(values["thresholds"], "fixed")
        self.assertAlmostEqual(float(values["stable_at_least"]), percentile(signals, 80), 12)
        self.assertAlmostEqual(float(values["chaotic_at_most"]), percentile(signals, 30), 12)

    def test_another_run_takes_them_as_they_are_printed(self):
        run = self.calibrated_run("leapverify.detector.signal=activation_cosine")
        text, values = self.printed(run)
        self.config.write_text(CONFIG + text)
        again = self.folder / "again"
        self.assertEqual(self.train(again).returncode, 0)
        options = self.events(again, "start")[0]["options"]
        self.assertEqual(options["detector.signal"], "activation_cosine")
        read = [event for event in self.events(again, "observation") if "signal" in event]
        self.assertGreater(len(read), 0)
        for event in read:
            self.assertEqual(event["stable_at_least"], float(values["stable_at_least"]))
            self.assertEqual(event["chaotic_at_most"], float(values["chaotic_at_most"]))

    def test_per_rate_takes_all_signals_at_the_largest_rate(self):
        run = self.calibrated_run("leapverify.detector.per_rate=true", "schedule.warmup=40")
        read = [event for event in self.events(run, "observation") if "signal" in event]
        largest = max(event["rate"] for event in read)
        self.assertLess(read[0]["rate"], largest / 2)
        signals = [1 - (1 - event["cosine"]) * (largest / event["rate"]) ** 2 for event in read]
        _, values = self.printed(run)
        self.assertEqual(values["per_rate"], "true")
        self.assertAlmostEqual(float(values["stable_at_least"]), percentile(signals, 70), 9)
        self.assertAlmostEqual(float(values["chaotic_at_most"]), percentile(signals, 30), 9)

    def test_runs_that_tell_none_are_refused_with_the_reason(self):
        self.assert_refused(leapverify("calibrate-regimes", self.folder / "none"), "no such run")
        run = self.calibrated_run("leapverify.detector.burn_in=11")
        self.assert_refused(leapverify("calibrate-regimes", run), "10 signals (delta_cosine)",
                            "at least 11")
        config = run / "config.yaml"
        config.write_text(config.read_text().replace("burn_in: 11", "burn_in: 10"))
        self.printed(run)
        trace = run / "trace.jsonl"
        written = trace.read_text()
        trace.write_text(re.sub(r'"signal":[-0-9.e]+', '"signal":0.5', written))
        self.assert_refused(leapverify("calibrate-regimes", run), "both percentiles",
                            "10 signals are 0.5")
        trace.write_text(written)
        config.write_text(config.read_text().replace("delta_cosine", "activation_cosine"))
        self.assert_refused(leapverify("calibrate-regimes", run), "detector.signal was "
                            '"delta_cosine"', '"activation_cosine" in the config')
        trace.write_text("no JSON\n" + written)
        self.assert_refused(leapverify("calibrate-regimes", run), "trace.jsonl:1:")
        trace.unlink()
        self.assert_refused(leapverify("calibrate-regimes", run), "no trace.jsonl")

    def test_a_last_line_that_a_killed_run_cut_is_left_out(self):
        run = self.calibrated_run()
        text, _ = self.printed(run)
        with open(run / "trace.jsonl", "a") as trace:
            trace.write('{"event":"observation","step":65,"sig')
        self.assertEqual(self.printed(run)[0], text)


class BadInput(ProgramTest):
    def test_no_such_command(self):
        self.assert_refused(leapverify("trian", self.config), "'trian': no such command", "train, resume, export")

    def test_no_such_data_path(self):
        run = self.folder / "run"
        result = leapverify("train", self.config, "--data", self.folder / "none", "--run", run)
        self.assert_refused(result, self.folder / "none")
        self.assertFalse(run.exists(), "a run that never began leaves no folder")

    def test_empty_file(self):
        self.text.write_text("")
        self.assert_refused(self.train(self.folder / "run"), "text.txt", "empty")

    def test_file_shorter_than_one_sequence(self):
        self.text.write_text("short")
        self.assert_refused(self.train(self.folder / "run"), "text.txt", "5 bytes")

    def test_binary_junk(self):
        self.text.write_bytes(bytes(range(256)) * 40)
        self.assert_refused(self.train(self.folder / "run"), "text.txt", "NUL")

    def test_existing_run_folder_is_left_alone(self):
        run = self.folder / "run"
        run.mkdir()
        (run / "thesis.txt").write_text("years of work")
        self.assert_refused(self.train(run), run, "exists already")
        self.assertEqual([path.name for path in run.iterdir()], ["thesis.txt"])

    def test_unwritable_run_folder(self):
        self.assert_refused(self.train(self.text / "run"), "cannot create run folder")

    def test_broken_yaml(self):
        self.config.write_text("run: {steps: 5\n")
        self.assert_refused(self.train(self.folder / "run"), "config.yaml:")

    def test_unknown_key(self):
        self.config.write_text("run:\n  step: 5\n")
        self.assert_refused(self.train(self.folder / "run"), "config.yaml:2", "run.step",
                            "run.steps")

    def test_negative_horizon(self):
        result = self.train(self.folder / "run", "--set", "leapverify.horizons=[5,-10]")
        self.assert_refused(result, "leapverify.horizons", "-10", "≥ 1")

    def test_statistics_of_a_model_without_batch_norm(self):
        for policy in ("extrapolate", "recompute"):
            run = self.folder / policy
            result = self.train(run, "--set", f"leapverify.batch_norm={policy}")
            self.assert_refused(result, f"leapverify.batch_norm: {policy} is not legal",
                                "no batch norm")
            self.assertFalse(run.exists())
        result = self.train(self.folder / "off", "--set", "leapverify.batch_norm=recompute",
                            "--set", "leapverify.enabled=false")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_gate_set_too_small(self):
        result = self.train(self.folder / "run", "--set", "leapverify.verification.sequences=90000")
        self.assert_refused(result, "gate set", "at least")

    def test_resume_without_a_run(self):
        self.assert_refused(leapverify("resume", self.folder / "none"), "no such run folder")

    def test_resume_before_the_first_checkpoint(self):
        run = self.folder / "run"
        run.mkdir()
        (run / "config.yaml").write_text(CONFIG.replace("data: {", f"data: {{path: '{self.text}', "))
        self.assert_refused(leapverify("resume", run), "no complete checkpoint")

    def test_resume_on_other_text(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        self.text.write_text(self.text.read_text().replace("apples", "pears!"))
        self.assert_refused(leapverify("resume", run), "other text")

    def test_resume_at_a_step_without_a_checkpoint(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        self.assert_refused(leapverify("resume", run, "--step", 35), "no checkpoint of step 35",
                            "complete checkpoints: step 50, 60;")

    def test_checkpoints_of_which_none_is_known_to_be_the_latest(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        latest = run / "checkpoints" / "latest"
        latest.unlink()
        self.assert_refused(leapverify("resume", run), f"{latest}: missing", "--step 60")
        latest.write_text("step-60\n")
        self.assert_refused(leapverify("resume", run), f"{latest}: edited", "--step 60")
        self.assertEqual(leapverify("resume", run, "--step", 60).returncode, 0)
        self.assertEqual(leapverify("resume", run).returncode, 0)

    def test_damaged_checkpoint(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        others = f"complete checkpoints: step 50; to go on from one: leapverify resume '{run}' --step 50"
        for name in CHECKPOINT_FILES:
            path = run / "checkpoints" / "step-60" / f"{name}.safetensors"
            saved = path.read_bytes()
            flipped = bytearray(saved)
            flipped[-1] ^= 1
            path.write_bytes(flipped)
            self.assert_refused(leapverify("resume", run), path, "damaged", others)
            path.write_bytes(saved)
        os.truncate(path, 100)
        self.assert_refused(leapverify("resume", run), path)
        shutil.rmtree(run / "checkpoints" / "step-50")
        self.assertNotIn("complete", leapverify("resume", run).stderr)

    def test_checkpoint_of_another_model(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        for key, value, before in (("model.width", "32", "16"), ("model.heads", "1", "2"),
                                   ("optimizer.name", "muon", "adamw")):
            result = leapverify("resume", run, "--set", f"{key}={value}")
            self.assert_refused(result, f"{key}: {value} is not legal, expected {before}, as the run was trained with",
                                "'leapverify train'")

    def test_model_that_cannot_fit_is_one_line(self):
        result = self.train(self.folder / "run", "--set", "model.width=65536", "--set",
                            "model.layers=1000")
        self.assert_refused(result, "memory")

    def test_numbers_far_too_large(self):
        for override in ("run.threads=3000000000", "batch.sequences=99999999999",
                         "model.context=99999999999"):
            self.assert_refused(self.train(self.folder / "run", "--set", override), override)

    def test_diverging_run_says_so(self):
        result = self.train(self.folder / "run", "--set", "optimizer.lr=1e30", "--set",
                            "optimizer.clip=0")
        self.assert_refused(result, "training loss is", "optimizer.lr")


    def test_weights_that_diverge_after_a_finite_loss_replace_no_checkpoint(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run, "--set", "run.keep_checkpoints=1").returncode, 0)
        before = self.final_state(run)
        result = leapverify("resume", run, "--set", "run.steps=61", "--set", "optimizer.lr=1e300", "--set",
                            "run.checkpoint_every=1")
        self.assert_refused(result, "the weights '", " at step 61; a lower optimizer.lr may help")
        self.assertEqual(self.final_state(run), before)
        self.assertEqual(leapverify("resume", run, "--set", "run.steps=61").returncode, 0)


class Bench(ProgramTest):
    def test_hands_over_to_the_script_of_its_source_tree(self):
        result = leapverify("bench", "everything")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        self.assertIn("unknown measurement 'everything'; legal are all ", result.stderr)

    def test_without_a_source_tree_it_says_what_it_needs(self):
        alone = self.folder / "build" / "leapverify"
        alone.parent.mkdir()
        shutil.copy(PROGRAM, alone)
        result = subprocess.run([alone, "bench"], capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 1)
        self.assertIn("the benches need the source tree", result.stderr)


class Help(ProgramTest):
    def test_help_and_explain_config_show_every_key(self):
        explained = leapverify("explain-config").stdout
        for key in ("lr", "observe_every", "proximity_tolerance", "max_overhead"):
            self.assertIn(key, explained)
            self.assertIn(key, leapverify("train", "--help").stdout)


if __name__ == "__main__":
    unittest.main()

"""The program with each model, in either precision, with a step in one pass or several.

Usage: models_test.py PATH_OF_LEAPVERIFY [unittest options]
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors.torch import load_file

PROGRAM = sys.argv.pop(1)

CONFIG = """
run: {steps: 12, log_every: 1, eval_every: 0, eval_sequences: 8, checkpoint_every: 4, device: cpu, threads: 1,
      sample_bytes: 5}
data: {gate_share: 0.2, validation_share: 0.1}
batch: {sequences: 8, context: 16}
optimizer: {lr: 1.0e-3}
schedule: {warmup: 2}
"""
GPT2 = "model: {name: gpt2, gpt2: {vocab_size: 300, n_positions: 24, n_embd: 24, n_inner: 48, n_head: 2, n_layer: 2}}"
QWEN2 = ("model: {name: qwen2, qwen2: {vocab_size: 300, max_position_embeddings: 64, hidden_size: 32, "
         "intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2}}")
MODELS = {"gpt2": GPT2, "qwen2": QWEN2}
NO_DROPOUT = ("model.gpt2.embd_pdrop=0", "model.gpt2.attn_pdrop=0", "model.gpt2.resid_pdrop=0")


class ModelsTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.text = self.folder / "text.txt"
        self.text.write_text("".join(f"line {i}: {i * i % 97} apples\n" for i in range(3000)))

    def run_program(self, *arguments):
        return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, errors="replace",
                              timeout=300)

    def train(self, name, model, *overrides):
        config = self.folder / "config.yaml"
        config.write_text(CONFIG + model)
        words = [word for override in overrides for word in ("--set", override)]
        return self.run_program("train", config, "--data", self.text, "--run", self.folder / name, *words)

    def losses(self, name, model, *overrides):
        """Of each step, once the run has succeeded."""
        result = self.train(name, model, *overrides)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = (self.folder / name / "metrics.jsonl").read_text().splitlines()
        return [line["train_loss"] for line in map(json.loads, lines) if "train_loss" in line]

    def weights(self, name, step=12):
        return load_file(self.folder / name / "checkpoints" / f"step-{step}" / "model.safetensors")

    def assert_refused(self, result, *words):
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)


class Models(ModelsTest):
    def test_fresh_ones_learn(self):
        for name, model in MODELS.items():
            losses = self.losses(name, model, "run.steps=40", "optimizer.lr=1e-2")
            self.assertLess(abs(losses[0] - 5.7), 0.3, "log of the vocabulary of 300")
            self.assertLess(losses[-1], 4, name)

    def test_a_pretrained_one_starts_from_its_weights(self):
        torch.manual_seed(3)
        config = transformers.GPT2Config(n_layer=2, n_embd=24, n_head=2, vocab_size=300, n_positions=24,
                                         bos_token_id=1, eos_token_id=2)
        source = transformers.GPT2LMHeadModel(config)
        source.save_pretrained(self.folder / "model")
        model = f"model: {{name: pretrained, folder: '{self.folder / 'model'}'}}"
        self.losses("run", model, "run.steps=4", "optimizer.lr=1e-30")
        stored = self.weights("run", 4)
        self.assertTrue(torch.equal(stored["token_embedding.weight"], source.transformer.wte.weight))
        self.assertTrue(torch.equal(stored["blocks.1.mlp_in.weight"], source.transformer.h[1].mlp.c_fc.weight.t()))
        result = self.run_program("resume", self.folder / "run", "--set", "run.steps=5")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_activation_checkpointing_changes_no_bit(self):
        for name, model in MODELS.items():
            for precision in ("fp32", "bf16"):
                for on in ("false", "true"):
                    self.losses(f"{name}-{precision}-{on}", model, f"run.precision={precision}",
                                f"model.activation_checkpointing={on}")
                plain, checkpointed = (self.weights(f"{name}-{precision}-{on}") for on in ("false", "true"))
                for tensor in plain:
                    self.assertTrue(torch.equal(plain[tensor], checkpointed[tensor]), (name, precision, tensor))

    def test_that_cannot_be_trained_are_refused(self):
        self.assert_refused(self.train("run", GPT2, "model.gpt2.vocab_size=255"), "a vocabulary of 255", "256")
        self.assert_refused(self.train("run", GPT2, "batch.context=25"), "batch.context", "25", "at most the 24")
        self.assert_refused(self.train("run", f"model: {{name: pretrained, folder: {self.folder}/none}}"),
                            "none/config.json")
        self.assertFalse((self.folder / "run").exists())


class Precision(ModelsTest):
    def test_bf16_keeps_fp32_weights_and_stays_near_fp32(self):
        for name, model in MODELS.items():
            full = self.losses(f"{name}-fp32", model)
            rounded = self.losses(f"{name}-bf16", model, "run.precision=bf16")
            self.assertNotEqual(full, rounded)
            for a, b in zip(full, rounded):
                self.assertLess(abs(a - b), 0.05)
            self.assertEqual({tensor.dtype for tensor in self.weights(f"{name}-bf16").values()}, {torch.float32})

    def test_leaps_are_tried_in_bf16(self):
        """The canary would keep leaps off if the evaluator answered for weights of before."""
        leaps = ("leapverify={enabled: true, observe_every: 2, first_leap: 4, max_overhead: inf, "
                 "least_regime: chaotic}",
                 "leapverify.verification={rule: proximity, proximity_tolerance: 1, sequences: 16}", "run.steps=40")
        self.losses("run", GPT2, "run.precision=bf16", *leaps)
        events = [json.loads(line) for line in (self.folder / "run" / "trace.jsonl").read_text().splitlines()]
        self.assertGreater(sum(event["event"] == "leap" for event in events), 0)
        self.assertEqual([event for event in events if event["event"] in ("failure", "off")], [])

    def test_killed_and_resumed_bf16_is_bitwise_the_run(self):
        self.losses("whole", GPT2, "run.precision=bf16")
        self.losses("part", GPT2, "run.precision=bf16", "run.keep_checkpoints=9")
        result = self.run_program("resume", self.folder / "part", "--step", 4)
        self.assertEqual(result.returncode, 0, result.stderr)
        whole, resumed = self.weights("whole"), self.weights("part")
        for tensor in whole:
            self.assertTrue(torch.equal(whole[tensor], resumed[tensor]), tensor)

    def test_tf32_is_refused_on_the_cpu(self):
        self.assert_refused(self.train("run", GPT2, "run.precision=tf32"), "run.precision: tf32", "fp32 or bf16")


class Accumulation(ModelsTest):
    def test_a_step_in_passes_is_the_step_in_one(self):
        whole = self.losses("whole", GPT2, *NO_DROPOUT)
        parts = self.losses("parts", GPT2, *NO_DROPOUT, "batch.sequences=2", "batch.accumulate=4")
        self.assertEqual(len(parts), len(whole), "counted as one step")
        for a, b in zip(whole, parts):
            self.assertLess(abs(a - b), 1e-4)
        first, second = self.weights("whole"), self.weights("parts")
        for tensor in first:
            self.assertLess((first[tensor] - second[tensor]).abs().max(), 1e-3, tensor)

    def test_tokens_are_those_of_all_passes(self):
        result = self.train("run", GPT2, "batch.accumulate=3")
        self.assertIn(f"12 steps, {12 * 3 * 8 * 16 / 1000:.1f}k tokens in", result.stdout)

    def test_the_next_batch_serves_as_gate(self):
        """Rejected comparisons on the batch leave no trace, dropout included."""
        leaps = ("batch.accumulate=2", "run.steps=30",
                 "leapverify={observe_every: 2, first_leap: 4, max_overhead: inf, least_regime: chaotic, "
                 "gate: next_batch, max_backoff: 1}")
        reject = "leapverify.verification={rule: proximity, proximity_tolerance: 1e-12, sequences: 16}"
        self.losses("on", GPT2, *leaps, reject, "leapverify.enabled=true")
        self.losses("off", GPT2, *leaps, reject, "leapverify.enabled=false")
        events = [json.loads(line) for line in (self.folder / "on" / "trace.jsonl").read_text().splitlines()]
        self.assertGreater(sum(event["event"] == "leap" for event in events), 0)
        on, off = self.weights("on", 30), self.weights("off", 30)
        for tensor in on:
            self.assertTrue(torch.equal(on[tensor], off[tensor]), tensor)


if __name__ == "__main__":
    unittest.main()

"""The program with each model, in either precision, with a step in one pass or several.

Usage: models_test.py PATH_OF_LEAPVERIFY [unittest options]
"""

import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
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

    def resume_at(self, name, step, *arguments):
        """Trains on from an earlier checkpoint; those after it are gone first."""
        for folder in (self.folder / name / "checkpoints").glob("step-*"):
            if int(folder.name[len("step-"):]) > step:
                shutil.rmtree(folder)
        result = self.run_program("resume", self.folder / name, "--step", step, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"resumed      at step {step}\n", result.stdout)

    def assert_goes_on_bitwise(self, name, step, last=12):
        """A finished run, which keeps its checkpoints, against itself trained again from the one of `step`."""
        whole, part = self.folder / name, self.folder / f"{name} resumed"
        shutil.copytree(whole, part)
        self.resume_at(part.name, step)
        before, after = (whole / "checkpoints" / f"step-{count}" for count in (step, last))
        for file in ("model.safetensors", "optimizer.safetensors", "leapverify.safetensors", "random.safetensors"):
            again = part / "checkpoints" / after.name / file
            self.assertEqual(again.read_bytes(), (after / file).read_bytes(), file)
        self.assertNotEqual((before / "model.safetensors").read_bytes(), (after / "model.safetensors").read_bytes())
        self.assertEqual((part / "trace.jsonl").read_bytes(), (whole / "trace.jsonl").read_bytes())

    def validations(self, name):
        lines = (self.folder / name / "metrics.jsonl").read_text().splitlines()
        return [line for line in map(json.loads, lines) if "validation_loss" in line]

    def events(self, name, kind):
        lines = (self.folder / name / "trace.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def count_leaps(self, name):
        """Of a run in which nothing failed."""
        self.assertEqual(self.events(name, "failure") + self.events(name, "off"), [])
        return len(self.events(name, "leap"))

    def embedding(self, folder):
        return transformers.AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight

    def assert_same_weights(self, found, expected):
        self.assertEqual(found.keys(), expected.keys())
        for tensor in expected:
            self.assertTrue(torch.equal(found[tensor], expected[tensor]), tensor)

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
        self.resume_at("run", 4, "--set", "run.steps=5", "--set", "optimizer.lr=1e-2")
        trained = self.weights("run", 5)
        self.assertFalse(torch.equal(trained["token_embedding.weight"], stored["token_embedding.weight"]))

    def test_activation_checkpointing_changes_no_bit(self):
        for name, model in MODELS.items():
            for precision in ("fp32", "bf16"):
                for on in ("false", "true"):
                    self.losses(f"{name}-{precision}-{on}", model, f"run.precision={precision}",
                                f"model.activation_checkpointing={on}")
                self.assert_same_weights(*(self.weights(f"{name}-{precision}-{on}") for on in ("false", "true")))

    def test_that_cannot_be_trained_are_refused(self):
        self.assert_refused(self.train("run", GPT2, "model.gpt2.vocab_size=255"), "a vocabulary of 255", "256")
        self.assert_refused(self.train("run", GPT2, "batch.context=25"), "batch.context", "25", "at most the 24")
        self.assert_refused(self.train("run", f"model: {{name: pretrained, folder: {self.folder}/none}}"),
                            "none/config.json")
        self.assertFalse((self.folder / "run").exists())


class Adapters(ModelsTest):
    def setUp(self):
        super().setUp()
        torch.manual_seed(3)
        config = transformers.Qwen2Config(vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                                          num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
        self.base = self.folder / "base"
        transformers.Qwen2ForCausalLM(config).save_pretrained(self.base)
        self.model = (f"model: {{name: pretrained, folder: '{self.base}', lora: {{rank: 4, targets: [q_proj, v_proj]}}}}\n"
                      "leapverify: {preset: verified, enabled: true, observe_every: 2, probes: 0, max_overhead: .inf, "
                      "predictor: linear, verification: {rule: strict, sequences: 8}}")

    def test_alone_are_trained_leapt_with_and_exported(self):
        first = self.losses("run", self.model, "run.steps=30", "optimizer.lr=1e-2")
        self.assertLess(first[-1], first[0] - 0.05)
        self.assertGreater(self.count_leaps("run"), 3)
        cost = self.events("run", "start")[0]["step_cost"] / 8
        self.assertTrue(2 < cost < 2.1, f"{cost}: most weights need no gradients")
        run, exported, merged = self.folder / "run", self.folder / "adapters", self.folder / "merged"
        for words in ((exported,), (merged, "--merged")):
            result = self.run_program("export", run, *words)
            self.assertEqual(result.returncode, 0, result.stderr)
        config = json.loads((exported / "adapter_config.json").read_text())
        self.assertEqual(config["base_model_name_or_path"], str(self.base))
        tokens = torch.arange(3, 35).view(2, 16)
        base = transformers.AutoModelForCausalLM.from_pretrained(self.base).eval()
        with torch.no_grad():
            before = base(tokens).logits
            adapted = peft.PeftModel.from_pretrained(base, exported).eval()(tokens).logits
            full = transformers.AutoModelForCausalLM.from_pretrained(merged).eval()(tokens).logits
            found = peft.AutoPeftModelForCausalLM.from_pretrained(exported).eval()(tokens).logits
        self.assertTrue(torch.equal(found, adapted), "PEFT finds the base model by itself")
        self.assertGreater((adapted - before).abs().max(), 1e-3)
        self.assertLess((adapted - full).abs().max(), 1e-5)
        stored, base_weights = self.weights("run", 30), load_file(self.base / "model.safetensors")
        self.assertTrue(torch.equal(stored["token_embedding.weight"], base_weights["model.embed_tokens.weight"]))

    def test_resumed_is_bitwise_the_run(self):
        """With dropout, and leaps before and after."""
        self.losses("run", self.model, "run.steps=24", "run.keep_checkpoints=9", "optimizer.lr=1e-2",
                    "model.lora.dropout=0.1")
        steps = [event["step"] for event in self.events("run", "leap")]
        self.assertTrue(min(steps) < 12 < max(steps), steps)
        self.assert_goes_on_bitwise("run", 12, 24)

    def test_that_name_no_layer_are_refused(self):
        self.assert_refused(self.train("run", self.model, "model.lora.targets=[c_attn]"), "targets", "c_attn")
        self.assert_refused(self.train("run", self.model, "model.lora.rank=0"), "model.lora.targets")
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
        leaps = ("leapverify={preset: verified, enabled: true, observe_every: 2, first_leap: 4, max_overhead: inf, "
                 "least_regime: chaotic}",
                 "leapverify.verification={rule: proximity, proximity_tolerance: 1, sequences: 16}", "run.steps=40")
        self.losses("run", GPT2, "run.precision=bf16", *leaps)
        self.assertGreater(self.count_leaps("run"), 0)

    def test_resumed_bf16_is_bitwise_the_run(self):
        self.losses("run", GPT2, "run.precision=bf16", "run.keep_checkpoints=9")
        self.assert_goes_on_bitwise("run", 4)

    def test_what_needs_a_gpu_is_refused_on_the_cpu(self):
        self.assert_refused(self.train("run", GPT2, "run.precision=tf32"), "run.precision: tf32", "fp32 or bf16")
        self.assert_refused(self.train("run", GPT2, "run.cuda_graph=true"), "run.cuda_graph: true",
                            "false: the run is on the CPU")


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
                 "leapverify={preset: verified, observe_every: 2, first_leap: 4, max_overhead: inf, least_regime: chaotic, "
                 "gate: next_batch, max_backoff: 1}")
        reject = "leapverify.verification={rule: proximity, proximity_tolerance: 1e-12, sequences: 16}"
        self.losses("on", GPT2, *leaps, reject, "leapverify.enabled=true")
        self.losses("off", GPT2, *leaps, reject, "leapverify.enabled=false")
        self.assertGreater(self.count_leaps("on"), 0)
        self.assert_same_weights(self.weights("on", 30), self.weights("off", 30))


class Optimizers(ModelsTest):
    def test_muon_learns_and_goes_on_bitwise(self):
        muon = ("run.steps=24", "run.keep_checkpoints=9", "optimizer.lr=1e-2")
        losses = self.losses("run", GPT2, *muon, "optimizer.name=muon")
        self.assertLess(losses[-1], losses[0] - 1)
        self.assert_goes_on_bitwise("run", 12, 24)
        self.assertNotEqual(losses, self.losses("adamw", GPT2, *muon))

    def test_muons_matrices_may_have_a_rate_of_their_own(self):
        still = ("optimizer.name=muon", "optimizer.lr=1e-30", "run.steps=4")
        self.losses("run", GPT2, *still, "optimizer.muon.matrix_lr=0.01")
        self.losses("start", GPT2, *still)
        start, found = self.weights("start", 4), self.weights("run", 4)
        moved = {tensor for tensor in start if (start[tensor] - found[tensor]).abs().max() > 1e-20}
        self.assertEqual(moved, {tensor for tensor in start if "blocks" in tensor and start[tensor].dim() == 2})

    def test_leaps_are_tried_on_muon(self):
        leaps = ("leapverify={preset: verified, enabled: true, observe_every: 2, first_leap: 4, max_overhead: inf, "
                 "least_regime: chaotic}", "run.steps=40",
                 "leapverify.verification={rule: proximity, proximity_tolerance: 1, sequences: 16}")
        self.losses("run", GPT2, "optimizer.name=muon", *leaps)
        self.assertGreater(self.count_leaps("run"), 0)

    def test_weight_decay_spares_what_it_is_told_to(self):
        """At a decay by which whatever decays is next to 0 after a step."""
        kinds = {"token_embedding.weight": "decay_embeddings", "final_norm.weight": "decay_vectors",
                 "blocks.0.qkv.weight": None}
        for spared in ("decay_embeddings", "decay_vectors"):
            decays = [f"optimizer.{key}={str(key != spared).lower()}" for key in kinds.values() if key]
            self.losses(spared, GPT2, "run.steps=1", "schedule={warmup: 0, kind: constant}",
                        "optimizer.lr=1e-10", "optimizer.weight_decay=1e10", *decays)
            weights = self.weights(spared, 1)
            for tensor, key in kinds.items():
                self.assertEqual(weights[tensor].abs().max().item() > 1e-6, key == spared, (spared, tensor))


class Ends(ModelsTest):
    def test_the_run_ends_at_its_target(self):
        result = self.train("run", GPT2, "run.steps=400", "run.eval_every=5", "run.target_loss=4.5",
                            "optimizer.lr=1e-2")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("reached run.target_loss = 4.5 before the last of 400 steps", result.stdout)
        scored = self.validations("run")
        self.assertLessEqual(scored[-1]["validation_loss"], 4.5)
        self.assertEqual([line.get("reached_target", False) for line in scored],
                         [False] * (len(scored) - 1) + [True])
        self.assertEqual(len({line["step"] for line in scored}), len(scored), "once a step")
        resumed = self.run_program("resume", self.folder / "run")
        self.assertIn(f"\n{scored[-1]['step']} steps, ", resumed.stdout, "nothing is left to do")
        further = self.run_program("resume", self.folder / "run", "--set", "run.target_loss=4")
        self.assertIn("reached run.target_loss = 4 before", further.stdout)

    def test_the_best_checkpoint_is_kept(self):
        """The rate climbs until the loss rises again."""
        result = self.train("run", GPT2, "run.steps=60", "run.eval_every=4", "run.checkpoint_every=2",
                            "run.keep_checkpoints=1", "run.keep_best=true", "optimizer.lr=10", "schedule.warmup=60")
        self.assertEqual(result.returncode, 0, result.stderr)
        best = min(self.validations("run"), key=lambda line: line["validation_loss"])
        self.assertLess(best["step"], 60)
        self.assertIn(f"best validation loss: {best['validation_loss']:.4f} at step {best['step']}, "
                      f"checkpoints/step-{best['step']}\n", result.stdout)
        kept = {path.name for path in (self.folder / "run" / "checkpoints").iterdir()}
        self.assertEqual(kept, {"latest", "step-60", f"step-{best['step']}"})

    def test_out_of_memory_says_what_to_lower(self):
        config = self.folder / "config.yaml"
        config.write_text(CONFIG + GPT2)
        result = subprocess.run([PROGRAM, "train", config, "--data", self.text, "--run", self.folder / "run",
                                 "--set", "batch.sequences=400", "--set", "model.gpt2.vocab_size=400000"],
                                capture_output=True, text=True, timeout=300,
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)))
        self.assert_refused(result, "step 1 does not fit into memory: lower batch.sequences = 400", "batch.context",
                            "model.activation_checkpointing: true", "run.precision: bf16")

    def test_the_model_goes_to_transformers(self):
        for name, model in MODELS.items():
            run, folder = self.folder / name, self.folder / f"{name} exported"
            self.losses(name, model)
            result = self.run_program("export", run, folder)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertTrue(torch.equal(self.embedding(folder), self.weights(name)["token_embedding.weight"]))
            again = self.losses(f"{name} again", f"model: {{name: pretrained, folder: '{folder}'}}", "run.steps=2")
            self.assertLess(again[0], 5.65, "goes on from what was learned")
            self.assert_refused(self.run_program("export", run, folder), "exists already")
            early = self.folder / f"{name} early"
            self.assertEqual(self.run_program("export", run, early, "--step", 8).returncode, 0)
            self.assertTrue(torch.equal(self.embedding(early), self.weights(name, 8)["token_embedding.weight"]))

    def test_each_checkpoint_goes_with_the_config_of_then(self):
        self.losses("run", GPT2, "run.keep_checkpoints=9")
        self.resume_at("run", 8, "--set", "model.gpt2.resid_pdrop=0.25")
        for step, dropout in ((8, 0.1), (12, 0.25)):
            folder = self.folder / str(step)
            result = self.run_program("export", self.folder / "run", folder, "--step", step)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(json.loads((folder / "config.json").read_text())["resid_pdrop"], dropout)

    def test_the_base_of_adapters_may_be_moved(self):
        self.losses("base", GPT2)
        base, moved = self.folder / "exported", self.folder / "moved"
        self.assertEqual(self.run_program("export", self.folder / "base", base).returncode, 0)
        self.losses("run", f"model: {{name: pretrained, folder: '{base}', lora: {{rank: 2}}}}")
        base.rename(moved)
        config = self.folder / "run" / "config.yaml"
        config.write_text(config.read_text().replace(str(base), str(moved)))
        result = self.run_program("export", self.folder / "run", self.folder / "whole", "--merged")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_what_the_model_writes_is_text_made_of_bytes(self):
        model = ("model={name: gpt2, gpt2: {vocab_size: 5000, n_positions: 8, n_embd: 4, n_inner: 8, n_head: 1, "
                 "n_layer: 1}}")
        result = subprocess.run([PROGRAM, "train", "--data", self.text, "--run", self.folder / "run", "--set", model,
                                 "--set", "run.steps=1", "--set", "run.sample_bytes=64", "--set", "schedule.warmup=0"],
                                capture_output=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        written = result.stdout.split(b"the model writes:\n")[1].split(b"\n\nrun folder: ")[0].decode()
        self.assertTrue(1 <= len(written) <= 64, written)
        self.assertNotRegex(written, r"[\x00-\x08\x0b-\x1f\x7f]")


if __name__ == "__main__":
    unittest.main()

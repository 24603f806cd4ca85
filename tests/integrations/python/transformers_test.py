"""The real transformers, PEFT and Accelerate around LeapVerify.

Usage: transformers_test.py [unittest options], with the package on PYTHONPATH
"""

import os
import pathlib
import tempfile
import unittest
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"

import accelerate
import language
import peft
import torch
import torch.nn.functional as F
import transformers
from toy import read_trace

import leapverify
from leapverify.transformers import HuggingFaceEvaluator, LeapVerifyTrainer, sequence_losses

OPTIONS = dict(observe_every=5, max_overhead=float("inf"), max_backoff=0,
               verification={"sequences": 8, "rule": "proximity", "proximity_tolerance": 1e9})
TRAIN, GATE, EVAL = language.Sequences(256, 1), language.Sequences(64, 2), language.Sequences(32, 3)


def arguments(folder, **more):
    return transformers.TrainingArguments(**{
        "output_dir": folder, "per_device_train_batch_size": 8, "max_steps": 30, "learning_rate": 1e-3,
        "report_to": "none", "use_cpu": True, "logging_steps": 10, "save_strategy": "no", "disable_tqdm": True,
        "seed": 5, **more})


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def train(folder, leaps=OPTIONS, model=None, resume=None, probe=None, **more):
    trainer = LeapVerifyTrainer(
        model=model or language.model(), args=arguments(folder, **more), train_dataset=TRAIN, eval_dataset=EVAL,
        gate_dataset=GATE, gate_probe=probe, leapverify=leaps)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


class TrainerTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = self.folder.name
        self.addCleanup(self.folder.cleanup)

    def same(self, a, b):
        return all(torch.equal(a[name], b[name]) for name in a)

    def test_trains_and_raises_the_rate(self):
        trainer = train(self.path)
        events = read_trace(pathlib.Path(self.path) / "trace.jsonl")
        self.assertEqual(events[0]["event"], "start")
        self.assertFalse([e for e in events if e["event"] == "failure"])
        self.assertTrue([e for e in events if e["event"] == "rate"])
        self.assertEqual(trainer.optimizer.optimizer.status()["step"], 30)
        self.assertEqual(trainer.optimizer.optimizer.planned_steps, 30)
        self.assertTrue([line for line in trainer.state.log_history if line.get("learning_rate_scale", 1) > 1])

    def test_the_published_preset_reads_regimes_from_a_probe(self):
        paper = {"preset": "paper", "observe_every": 5, "probes": 8, "horizons": [2], "verification": {"sequences": 8}}
        with self.assertRaisesRegex(leapverify.InvalidOption, "gives no activations"):
            train(self.path, leaps=paper)
        train(self.path, leaps=paper, probe="transformer.ln_f")
        observations = [e for e in read_trace(pathlib.Path(self.path) / "trace.jsonl") if e["event"] == "observation"]
        self.assertEqual(len([e for e in observations if isinstance(e.get("signal"), float)]), len(observations) - 1)

    def test_a_run_that_ends_before_a_first_try_says_so(self):
        # Not assertWarns, which would load all of transformers' modules.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer = train(self.path, max_steps=7)
        told = [str(warning.message) for warning in caught if "nothing will be tried" in str(warning.message)]
        self.assertEqual(len(told), 1, told)
        self.assertIn("span 20 of 7 steps", told[0])
        self.assertEqual(trainer.optimizer.optimizer.status()["tries"], 0)

    def test_trains_again_without_another_wrapper(self):
        trainer = train(self.path, max_steps=25)
        trainer.train()
        self.assertNotIsInstance(trainer.optimizer.optimizer.base_optimizer, leapverify.LeapVerify)
        self.assertNotIsInstance(trainer.optimizer.optimizer.base_optimizer, accelerate.optimizer.AcceleratedOptimizer)

    def test_all_rejected_is_the_plain_trainer(self):
        rejecting = {**OPTIONS, "verification": {"sequences": 8, "rule": "strict", "margin": 1e9}}
        a = train(self.path, rejecting, model=language.model(dropout=0.1))
        self.assertTrue([e for e in read_trace(f"{self.path}/trace.jsonl") if e["event"] == "candidate"])
        b = train(self.path, None, model=language.model(dropout=0.1))
        self.assertNotIsInstance(b.optimizer.optimizer, leapverify.LeapVerify)
        self.assertTrue(self.same(weights(a.model), weights(b.model)))

    def test_through_optimizers_and_accumulated(self):
        model = language.model()
        base = torch.optim.AdamW(model.parameters(), lr=1e-3)
        evaluator = HuggingFaceEvaluator(model, GATE, sequences_per_step=32)
        events = []
        optimizer = leapverify.LeapVerify(base, evaluator, trace=events.append, planned_steps=30, **OPTIONS)
        scheduler = torch.optim.lr_scheduler.ConstantLR(base, 1.0)
        trainer = transformers.Trainer(
            model=model, train_dataset=TRAIN, optimizers=(optimizer, scheduler),
            args=arguments(self.path, max_steps=30, gradient_accumulation_steps=4))
        trainer.train()
        self.assertEqual(optimizer.status()["step"], 30)
        self.assertEqual([e["step"] for e in events if e["event"] == "observation"], [5, 10, 15, 20, 25, 30])
        self.assertFalse([e for e in events if e["event"] == "failure"])

    def test_resumes_from_a_checkpoint(self):
        whole = train(self.path + "/a", save_strategy="steps", save_steps=13, max_steps=26)
        resumed = train(self.path + "/a", resume=self.path + "/a/checkpoint-13", max_steps=26)
        self.assertEqual(resumed.optimizer.optimizer.status(), whole.optimizer.optimizer.status())
        self.assertTrue(self.same(weights(whole.model), weights(resumed.model)))

    def test_bf16_and_gradient_checkpointing(self):
        trainer = train(self.path, bf16=True, gradient_checkpointing=True, max_steps=25)
        self.assertEqual(trainer.optimizer.optimizer.status()["off_reason"], "")
        self.assertEqual(trainer.optimizer.optimizer.status()["step"], 25)
        self.assertGreater(trainer.optimizer.optimizer.status()["candidates"], 0)

    def test_evaluation_data_serve_where_no_gate_is_given(self):
        trainer = LeapVerifyTrainer(model=language.model(), args=arguments(self.path, max_steps=21), train_dataset=TRAIN,
                                    eval_dataset=EVAL, leapverify=OPTIONS)
        trainer.train()
        self.assertEqual(len(trainer.optimizer.optimizer.evaluator), len(EVAL))
        trainer = LeapVerifyTrainer(model=language.model(), args=arguments(self.path), train_dataset=TRAIN,
                                    leapverify=OPTIONS)
        with self.assertRaisesRegex(leapverify.InvalidOption, "gate_dataset = None"):
            trainer.train()

    def test_a_free_rate_needs_no_held_out_data(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer = LeapVerifyTrainer(model=language.model(), args=arguments(self.path, max_steps=21), train_dataset=TRAIN,
                                        leapverify={"preset": "free"})
            trainer.train()
        self.assertEqual([str(w.message) for w in caught if "gate_dataset" in str(w.message)], [])
        optimizer = trainer.optimizer.optimizer
        self.assertEqual(optimizer.status()["step"], 21)

        def now():
            return weights(trainer.model)

        self.assertTrue(self.same(optimizer.at_average(now), now()))

    def test_auto_evaluates_and_saves_what_the_run_is_for_and_resumes(self):
        auto = {"preset": "auto", "observe_every": 5, "max_overhead": float("inf"), "rate.looks": 2,
                "verification": {"sequences": 8, "max_sequences": 32}}
        seen = []

        class Look(transformers.TrainerCallback):
            def on_evaluate(self, args, state, control, model=None, metrics=None, optimizer=None, **kwargs):
                inputs = torch.stack([torch.as_tensor(row["input_ids"]) for row in EVAL])

                def score():
                    with torch.no_grad():
                        return float(model.eval()(input_ids=inputs, labels=inputs).loss)

                seen.append((metrics["eval_loss"], optimizer.optimizer.at_average(score), score()))

        def run(resume=None):
            trainer = LeapVerifyTrainer(
                model=language.model(), args=arguments(self.path, max_steps=26, eval_strategy="steps", eval_steps=13,
                                                       save_strategy="steps", save_steps=13),
                train_dataset=TRAIN, eval_dataset=EVAL, gate_dataset=GATE, leapverify=auto, callbacks=[Look()])
            trainer.train(resume_from_checkpoint=resume)
            return trainer

        whole = run()
        told, at_average, at_weights = seen[0]
        # Trainer divides by all 16 labels of a sequence, the model by the 15 that it predicts.
        self.assertAlmostEqual(told * 16 / 15, at_average, places=4)
        self.assertGreater(abs(at_average - at_weights), 1e-3)
        events = read_trace(pathlib.Path(self.path) / "trace.jsonl")
        self.assertEqual([e["step"] for e in events if e["event"] == "look"], [7, 26])
        saved = transformers.GPT2LMHeadModel.from_pretrained(self.path + "/checkpoint-13").eval()
        inputs = torch.stack([torch.as_tensor(row["input_ids"]) for row in EVAL])
        with torch.no_grad():
            self.assertAlmostEqual(float(saved(input_ids=inputs, labels=inputs).loss), at_average, places=5)
        resumed = run(self.path + "/checkpoint-13")
        self.assertTrue(self.same(weights(whole.model), weights(resumed.model)))

    def test_adapters_alone_are_leapt(self):
        base = language.model()
        model = peft.get_peft_model(base, peft.LoraConfig(
            r=2, target_modules=["c_attn"], task_type="CAUSAL_LM", fan_in_fan_out=True))
        frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
        trainer = train(self.path, {**OPTIONS, "on_accept": "both"}, model=model)
        events = read_trace(f"{self.path}/trace.jsonl")
        self.assertTrue([e for e in events if e["event"] == "leap" and e["outcome"] == "committed"])
        self.assertFalse([e for e in events if e["event"] == "failure"])
        now = dict(model.named_parameters())
        self.assertTrue(all(torch.equal(now[n], p) for n, p in frozen.items()))
        adapters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.assertLess(trainer.optimizer.optimizer.memory_bytes(), 100 * adapters)


class Losses(unittest.TestCase):
    def test_causal_losses_are_the_model_s_own(self):
        for make in (language.model, lambda: peft.get_peft_model(
                language.model(), peft.LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM"))):
            model = make().eval()
            batch = {k: torch.stack([GATE[i][k] for i in range(5)]) for k in ("input_ids", "labels")}
            batch["labels"][2, :9] = -100
            passes = []
            counter = model.register_forward_hook(lambda *_: passes.append(1))
            with torch.no_grad():
                losses = sequence_losses(model, batch)
                self.assertEqual(len(passes), 1)
                counter.remove()
                for row in range(5):
                    own = model(**{k: v[row:row + 1] for k, v in batch.items()}).loss
                    torch.testing.assert_close(losses[row], own)

    def test_other_losses_are_the_model_s_own(self):
        config = transformers.GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=1, n_head=2, num_labels=3,
                                         pad_token_id=0)
        model = transformers.GPT2ForSequenceClassification(config).eval()
        batch = {"input_ids": GATE.tokens[:4] % 39 + 1, "labels": torch.tensor([0, 2, 1, 1])}
        with torch.no_grad():
            losses = sequence_losses(model, batch)
            logits = model(input_ids=batch["input_ids"]).logits
        torch.testing.assert_close(losses, F.cross_entropy(logits, batch["labels"], reduction="none"))
        # With one pass a sequence the probe has seen several.
        rows = [{name: tensor[row] for name, tensor in batch.items()} for row in range(4)]
        evaluator = HuggingFaceEvaluator(model, rows, sequences_per_step=4, probe="transformer.ln_f")
        with torch.no_grad():
            again, vectors = evaluator.evaluate([1, 2, 3], True)
            whole = model.transformer(batch["input_ids"]).last_hidden_state[1:, -1]
        torch.testing.assert_close(again, losses[1:])
        torch.testing.assert_close(vectors, whole)


class AccelerateTest(unittest.TestCase):
    def test_prepared_optimizer_counts_steps_not_micro_batches(self):
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        model = language.model()
        events = []
        optimizer = leapverify.LeapVerify(
            torch.optim.AdamW(model.parameters(), lr=1e-3), HuggingFaceEvaluator(model, GATE, sequences_per_step=16),
            trace=events.append, **{**OPTIONS, "observe_every": 2})
        loader = torch.utils.data.DataLoader(TRAIN, 8)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.99**step)
        model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, loader, schedule)
        with self.assertRaisesRegex(leapverify.InvalidOption, "before accelerator.prepare"):
            leapverify.LeapVerify(optimizer, HuggingFaceEvaluator(model, GATE, sequences_per_step=16), **OPTIONS)
        for batch in loader:
            with accelerator.accumulate(model):
                accelerator.backward(model(**batch).loss)
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
        self.assertEqual(optimizer.optimizer.status()["step"], 16)
        self.assertFalse([e for e in events if e["event"] == "failure"])
        self.assertTrue([e for e in events if e["event"] == "leap"])
        with tempfile.TemporaryDirectory() as folder:
            accelerator.save_state(folder)
            before = optimizer.optimizer.status()
            accelerator.load_state(folder)
            self.assertEqual(optimizer.optimizer.status(), before)


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()

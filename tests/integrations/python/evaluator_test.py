"""Evaluators, and that asking them leaves no trace.

Usage: evaluator_test.py [unittest options], with the package on PYTHONPATH
"""

import random
import unittest
import warnings

import numpy
import torch
import torch.nn.functional as F
from toy import ACCEPTING, EAGER, Net, Run, ToyEvaluator, differences, inputs, squared, target
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import leapverify
from leapverify import BatchEvaluator


class FromLoader(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 3))
        self.x, self.y = torch.randn(50, 4), torch.randint(0, 3, (50,))

    def loader(self, x=None, y=None, rows=7):
        return DataLoader(TensorDataset(self.x if x is None else x, self.y if y is None else y), rows)

    def check(self, loss_fn, x, y, expected, **options):
        evaluator = BatchEvaluator.from_loader(self.model, loss_fn, self.loader(x, y), sequences_per_step=8, **options)
        wanted = [3, 4, 5, 40, 6, 49, 0]
        with torch.no_grad():
            losses, activations = evaluator.evaluate(wanted, False)
            self.assertIsNone(activations)
            torch.testing.assert_close(losses, expected[wanted])
        return evaluator

    def test_losses_are_those_of_each_sequence(self):
        with torch.no_grad():
            expected = F.cross_entropy(self.model(self.x), self.y, reduction="none")
        evaluator = self.check(F.cross_entropy, self.x, self.y, expected)
        self.assertEqual(len(evaluator), 50)
        self.assertEqual(evaluator.step_cost, 24)
        self.check(nn.CrossEntropyLoss(label_smoothing=0), self.x, self.y, expected)
        self.check(lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none")
                   if targets.dim() else F.cross_entropy(outputs, targets), self.x, self.y, expected)

    def test_loss_function_that_cannot_be_vectorised(self):
        def loss_fn(outputs, targets):
            if float(outputs.sum()) > 1e9:
                raise RuntimeError
            return F.cross_entropy(outputs, targets)
        with torch.no_grad():
            expected = F.cross_entropy(self.model(self.x), self.y, reduction="none")
        self.check(loss_fn, self.x, self.y, expected)

    def test_tokens_and_ignored_targets(self):
        model = self.model = nn.Sequential(nn.Embedding(9, 5), nn.Linear(5, 9))
        x, y = torch.randint(0, 9, (50, 6)), torch.randint(0, 9, (50, 6))
        y[:, :2] = -100
        with torch.no_grad():
            expected = F.cross_entropy(model(x)[:, 2:].transpose(1, 2), y[:, 2:], reduction="none").mean(1)
        self.check(F.cross_entropy, x, y, expected)

    def test_forward_for_other_batches(self):
        batches = [{"x": self.x[i:i + 5], "y": self.y[i:i + 5]} for i in range(0, 50, 5)]
        evaluator = BatchEvaluator.from_loader(
            self.model, F.cross_entropy, batches, sequences_per_step=8, forward=lambda m, b: (m(b["x"]), b["y"]),
            max_sequences=12)
        self.assertEqual(len(evaluator), 12)
        with torch.no_grad():
            losses, _ = evaluator.evaluate(range(12), False)
            torch.testing.assert_close(losses, F.cross_entropy(self.model(self.x), self.y, reduction="none")[:12])

    def test_probe_gives_activations(self):
        evaluator = BatchEvaluator.from_loader(
            self.model, F.cross_entropy, self.loader(), sequences_per_step=8, probe="0")
        with torch.no_grad():
            _, activations = evaluator.evaluate([1, 9], True)
        torch.testing.assert_close(activations, self.model(self.x[[1, 9]]).detach())
        self.assertEqual(len(self.model[0]._forward_hooks), 0)

    def test_wrong_input(self):
        for make, words in (
            (lambda: BatchEvaluator.from_loader(F.cross_entropy, self.model, [], sequences_per_step=8), "model is a func"),
            (lambda: BatchEvaluator.from_loader(self.model, F.cross_entropy, [], sequences_per_step=8), "no sequence"),
            (lambda: BatchEvaluator.from_loader(self.model, F.cross_entropy, self.loader(), sequences_per_step=0), "= 0"),
            (lambda: BatchEvaluator.from_loader(self.model, F.cross_entropy, self.loader(), sequences_per_step=8,
                                                probe="last"), "probe = 'last'"),
            (lambda: BatchEvaluator.from_loader(self.model, F.cross_entropy, [(self.x, self.y[:9])],
                                                sequences_per_step=8), r"\[9, 50\]"),
            (lambda: BatchEvaluator.from_loader(self.model, F.cross_entropy, [("a",)], sequences_per_step=8), "no seq"),
            (lambda: BatchEvaluator.from_loader(self.model, F.cross_entropy, [self.x],
                                                sequences_per_step=8).evaluate([0], False), "forward"),
            (lambda: BatchEvaluator(self.model, [self.x], lambda m, b: m(b), sequences_per_step=8).evaluate(
                [0, 1], False), r"\[2, 3\] for a batch of 2"),
        ):
            with self.subTest(words=words), self.assertRaisesRegex(ValueError, words):
                make()


    def test_activations_that_tell_the_regime_are_asked_for_at_once(self):
        evaluator = BatchEvaluator.from_loader(self.model, F.cross_entropy, self.loader(), sequences_per_step=8)
        base = torch.optim.SGD(self.model.parameters(), lr=0.1)
        with self.assertRaisesRegex(leapverify.InvalidOption, "gives no activations"):
            leapverify.LeapVerify(base, evaluator, preset="paper", probes=4, verification={"sequences": 8})


class LeavesNoTrace(unittest.TestCase):
    def test_modes_buffers_and_generators_are_put_back_also_after_a_failure(self):
        for fails in (False, True):
            with self.subTest(fails=fails):
                bare = Run()
                bare.model.dropout.eval()
                bare.train(10)
                run = Run(ACCEPTING)
                run.model.dropout.eval()
                seen = []
                inner = run.evaluator.evaluate

                def evaluate(sequences, activations):
                    seen.append((run.model.training, torch.is_grad_enabled()))
                    torch.rand(3), random.random(), numpy.random.rand()
                    run.model.train()
                    run.model(inputs(3))  # moves batch norm's statistics
                    run.model.eval()
                    if fails:
                        raise RuntimeError("mine")
                    return inner(sequences, activations)

                run.evaluator.evaluate = evaluate
                random.seed(5), numpy.random.seed(5)
                state = random.getstate(), str(numpy.random.get_state())
                run.train(10)
                self.assertTrue(seen)
                self.assertEqual(set(seen), {(False, False)})
                self.assertEqual((random.getstate(), str(numpy.random.get_state())), state)
                self.assertTrue(run.model.training and run.model.norm.training)
                self.assertFalse(run.model.dropout.training)
                if fails:
                    self.assertEqual(differences(bare.everything(), run.everything()), [])
                    self.assertIn("mine", run.kinds("failure")[0]["reason"])

    def test_three_failures_in_a_row_switch_leaps_off(self):
        bare = Run().train(60)
        run = Run(EAGER)
        run.evaluator.evaluate = lambda *_: 1 / 0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run.train(60)
        told = [str(w.message) for w in caught if "division by zero" in str(w.message)]
        self.assertEqual(len(told), 2)
        self.assertIn("training goes on", told[0])
        self.assertIn("held-out losses are no longer asked for", told[1])
        self.assertEqual(differences(bare.everything(), run.everything()), [])
        self.assertEqual(len(run.kinds("failure")), 3)
        self.assertIn("division by zero", run.optimizer.status()["off_reason"])

    def test_interrupt_is_no_failure(self):
        run = Run(EAGER)

        def interrupt(*_):
            raise KeyboardInterrupt
        run.train(4)
        run.evaluator.evaluate = interrupt
        before = {k: v.clone() for k, v in run.model.state_dict().items()}
        with self.assertRaises(KeyboardInterrupt):
            run.train(1)
        self.assertEqual(run.kinds("failure"), [])
        self.assertFalse(torch.equal(before["first.weight"], run.model.first.weight))  # the step itself was done
        self.assertTrue(run.model.training)
        self.assertTrue(torch.is_grad_enabled())

    def test_evaluators_that_cannot_be_trusted_keep_leaps_off(self):
        count = [0]

        def stale(sequences, activations):
            return torch.full((len(sequences),), 3.0), torch.ones(len(sequences), 2)

        def drifting(sequences, activations):
            count[0] += 1
            return torch.full((len(sequences),), 3.0 + count[0]), torch.ones(len(sequences), 2)

        for evaluate, words in ((stale, "stay the same"), (drifting, "differ between two calls")):
            run = Run(ACCEPTING)
            run.evaluator.evaluate = evaluate
            run.train(60)
            self.assertIn(words, run.optimizer.status()["off_reason"])
            self.assertEqual(run.kinds("leap"), [])

    def test_what_an_evaluator_returns_is_checked(self):
        for answer, words in ((lambda s: [1.0] * len(s), "tensor of losses, got list"),
                              (lambda s: torch.zeros(1), "one loss for each")):
            run = Run({**EAGER, "probes": 0, "detector.signal": "delta_cosine"})
            run.evaluator.evaluate = lambda s, _, answer=answer: answer(s)
            run.train(20)
            self.assertIn(words, run.kinds("failure")[0]["reason"])


class NextBatch(unittest.TestCase):
    def run_on_batches(self, options, steps, seen=False, reject=False):
        run = Run(options, reject=reject)
        run.batch_losses = []

        def batch():
            x = inputs(run.steps)
            run.steps += 1

            def losses():
                found = squared(run.model(x), target(x))
                if not torch.is_grad_enabled():
                    run.batch_losses.append(run.model.training)
                    if reject:
                        found = found + len(run.batch_losses)
                return found
            return leapverify.TrainingBatch(16, losses, run.optimizer.zero_grad, seen=seen)
        for _ in range(steps):
            run.optimizer.step(batch())
        return run

    def test_tries_are_made_on_the_batch(self):
        options = {**ACCEPTING, "gate": "next_batch"}
        run = self.run_on_batches(options, 21)
        self.assertTrue(run.kinds("leap"))
        self.assertEqual(run.kinds("failure"), [])
        self.assertTrue(run.batch_losses and all(run.batch_losses))
        self.assertEqual(self.run_on_batches(options, 21, seen=True).batch_losses, [])

    def test_all_rejected_is_the_base_optimizer(self):
        run = self.run_on_batches({**EAGER, "gate": "next_batch"}, 60, reject=True)
        bare = self.run_on_batches(None, 60)
        self.assertTrue(run.kinds("candidate"))
        self.assertEqual({leap["outcome"] for leap in run.kinds("leap")}, {"rejected"})
        self.assertEqual(differences(bare.everything(), run.everything()), [])

    def test_plain_closures_get_the_gate(self):
        run = Run({**ACCEPTING, "gate": "next_batch"}).train(21, closure=True)
        self.assertTrue(run.kinds("leap"))
        self.assertGreater(run.evaluator.evaluations, 0)


class BatchNorm(unittest.TestCase):
    def test_policies(self):
        statistics = {}
        for policy in ("keep", "extrapolate", "recompute"):
            run = Run({**ACCEPTING, "batch_norm": policy}).train(10)
            self.assertEqual(run.kinds("failure"), [])
            self.assertEqual([leap["outcome"] for leap in run.kinds("leap")], ["committed"])
            statistics[policy] = run.model.norm.running_mean.clone()
            self.assertEqual(run.model.norm.momentum, 0.1)
            self.assertTrue(run.model.norm.training)
        self.assertTrue(torch.equal(statistics["keep"], Run().train(10).model.norm.running_mean))
        self.assertFalse(torch.equal(statistics["keep"], statistics["extrapolate"]))
        self.assertFalse(torch.equal(statistics["keep"], statistics["recompute"]))


class Buffers(unittest.TestCase):
    def test_buffers_that_the_model_replaces_are_put_back(self):
        ends = []
        for options, reject in ((None, False), (EAGER, True)):
            run = Run()
            run.model.register_buffer("count", torch.zeros(()))
            run.model.register_forward_pre_hook(lambda model, _: setattr(model, "count", model.count + 1))
            if options is not None:
                run.evaluator.reject = reject
                run.optimizer = leapverify.LeapVerify(run.base, run.evaluator, **options)
            run.train(30)
            ends.append(float(run.model.count))
        self.assertEqual(ends, [30, 30])

    def test_making_an_evaluator_draws_nothing(self):
        run = Run()
        before = torch.get_rng_state()
        BatchEvaluator.from_loader(run.model, squared, DataLoader(TensorDataset(inputs(1), target(inputs(1))), 4),
                                   sequences_per_step=4)
        self.assertTrue(torch.equal(before, torch.get_rng_state()))

    def test_buffers_of_any_layout_are_put_back(self):
        run = Run()
        run.model.register_buffer("wide", torch.zeros(1, 3).expand(4, 3))
        run.model.register_buffer("turned", torch.zeros(3, 4).t())
        run.optimizer = leapverify.LeapVerify(run.base, run.evaluator, trace=run.events.append, **EAGER)
        inner = run.evaluator.evaluate

        def evaluate(*arguments):
            run.model.turned.add_(1)
            return inner(*arguments)
        run.evaluator.evaluate = evaluate
        run.train(15)
        self.assertTrue(run.kinds("leap"))
        self.assertEqual(float(run.model.turned.sum()), 0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()

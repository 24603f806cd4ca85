"""Mixed precision, gradient scaling, checkpoints of torch.distributed, compiled models, accumulated and checkpointed
gradients.

Usage: amp_test.py [unittest options], with the package on PYTHONPATH
"""

import copy
import tempfile
import unittest

import torch
import torch.distributed.checkpoint as dcp
from toy import ACCEPTING, EAGER, OPTIMIZERS, Run, ToyEvaluator, differences, inputs, squared, target
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.utils.checkpoint import checkpoint

import leapverify


def scaled_run(options, *, overflow=(), steps=30, fused=False, base=None):
    run = Run(options, base=base or (lambda p: torch.optim.AdamW(p, lr=3e-3, fused=fused)))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1000)
    for step in range(steps):
        run.optimizer.zero_grad()
        x = inputs(step)
        with torch.autocast("cpu", torch.bfloat16):
            loss = squared(run.model(x).float(), target(x)).mean()
        scaler.scale(loss).backward()
        if step in overflow:
            run.model.first.weight.grad[0, 0] = float("inf")
        scaler.step(run.optimizer)
        scaler.update()
    return run


class Scaler(unittest.TestCase):
    def test_skipped_steps_are_not_counted(self):
        for fused in (False, True):
            with self.subTest(fused=fused):
                run = scaled_run(ACCEPTING, overflow=(3, 9, 10), fused=fused)
                self.assertEqual(run.optimizer.status()["step"], 27)
                self.assertEqual([e["step"] for e in run.kinds("observation")][:3], [5, 10, 15])
                self.assertTrue(all(torch.isfinite(p).all() for p in run.model.parameters()))
                self.assertFalse(hasattr(run.optimizer, "_step_supports_amp_scaling"))
                self.assertEqual(getattr(run.base, "_step_supports_amp_scaling", False), fused)

    def test_no_step_of_any_optimizer_where_an_infinity_was_found(self):
        for base in OPTIMIZERS:
            for options in (ACCEPTING, {**EAGER, "verification": {"sequences": 16, "margin": 1e9, "rule": "strict"}}):
                with self.subTest(base=base):
                    run = scaled_run(options, overflow=range(3, 9), steps=9, base=base)
                    before = scaled_run(options, steps=3, base=base)
                    self.assertEqual(run.optimizer.status()["step"], 3)
                    for a, b in zip(run.model.parameters(), before.model.parameters(), strict=True):
                        self.assertTrue(torch.equal(a, b))

    def test_all_rejected_is_the_base_optimizer(self):
        for fused in (False, True):
            with self.subTest(fused=fused):
                # A fused base optimizer takes the scale itself when it is bare; the same numbers come out, for the scale
                # is a power of two.
                bare = scaled_run(None, overflow=(4,), fused=fused)
                run = scaled_run({**EAGER, "verification": {"sequences": 16, "margin": 1e9, "rule": "strict"}},
                                 overflow=(4,), fused=fused)
                self.assertTrue(run.kinds("candidate"))
                self.assertEqual([d for d in differences(bare.everything(), run.everything())
                                  if not d.startswith("grad")], [])


class DistributedCheckpoint(unittest.TestCase):
    def test_state_made_by_a_step_without_a_rate_is_not_counted(self):
        run = Run(EAGER)
        get_optimizer_state_dict(run.model, run.optimizer)
        self.assertEqual(run.optimizer.status()["step"], 0)
        self.assertIn("exp_avg", next(iter(run.base.state.values())))

    def test_save_and_load(self):
        run = Run(ACCEPTING).train(13)
        with tempfile.TemporaryDirectory() as folder:
            dcp.save({"model": run.model.state_dict(), "optimizer": get_optimizer_state_dict(run.model, run.optimizer),
                      "leapverify": run.optimizer.leap_state()}, checkpoint_id=folder, no_dist=True)
            other = Run(ACCEPTING)
            state = {"model": other.model.state_dict(),
                     "optimizer": get_optimizer_state_dict(other.model, other.optimizer),
                     "leapverify": copy.deepcopy(run.optimizer.leap_state())}
            for tensor in state["leapverify"]["tensors"].values():
                tensor.zero_()
            dcp.load(state, checkpoint_id=folder, no_dist=True)
        other.model.load_state_dict(state["model"])
        set_optimizer_state_dict(other.model, other.optimizer, state["optimizer"])
        other.optimizer.load_leap_state(state["leapverify"])
        other.steps = run.steps
        generator = torch.get_rng_state()
        run.train(12)
        torch.set_rng_state(generator)
        other.train(12)
        self.assertEqual(differences(run.everything(), other.everything()), [])
        self.assertEqual(run.optimizer.status(), other.optimizer.status())


class Models(unittest.TestCase):
    def test_autocast_keeps_no_copy_of_old_weights(self):
        # With its cache kept, the evaluator would answer for the weights of before, and the canary would fail.
        run = Run(ACCEPTING)
        run.evaluator._context = lambda: torch.autocast("cpu", torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            for _ in range(20):
                run.train(1)
        self.assertEqual(run.optimizer.status()["off_reason"], "")
        self.assertTrue(any(leap["outcome"] == "committed" for leap in run.kinds("leap")))

    def test_compiled_model(self):
        run = Run()
        run.model.dropout.p = 0.0
        compiled = torch.compile(run.model, backend="aot_eager")
        evaluator = ToyEvaluator(compiled)
        run.optimizer = leapverify.LeapVerify(run.base, evaluator, trace=run.events.append, **ACCEPTING)
        plain, run.model = run.model, compiled
        run.train(20)
        self.assertEqual(run.optimizer.status()["off_reason"], "")
        self.assertTrue(any(leap["outcome"] == "committed" for leap in run.kinds("leap")))
        eager = Run(ACCEPTING)
        eager.model.dropout.p = 0.0
        eager.train(20)
        torch.testing.assert_close(plain.first.weight, eager.model.first.weight, rtol=1e-4, atol=1e-5)

    def test_micro_batches_are_no_steps(self):
        run = Run(EAGER)
        for step in range(12):
            run.optimizer.zero_grad()
            for part in range(4):
                x = inputs(100 * step + part)
                (squared(run.model(x), target(x)).mean() / 4).backward()
            run.optimizer.step()
        self.assertEqual(run.optimizer.status()["step"], 12)

    def test_checkpointed_gradients(self):
        run = Run(ACCEPTING)
        for step in range(20):
            run.optimizer.zero_grad()
            x = inputs(step)
            squared(checkpoint(run.model, x, use_reentrant=False), target(x)).mean().backward()
            run.optimizer.step()
        self.assertEqual(run.kinds("failure"), [])
        self.assertTrue(any(leap["outcome"] == "committed" for leap in run.kinds("leap")))

    def test_rejected_leap_between_forward_and_backward_of_another_loss(self):
        # A rejected leap must not bump versions: a graph made before the step must still go backward.
        run = Run({**EAGER, "verification": {"sequences": 16, "margin": 1e9}})
        run.train(9)
        x = inputs(50)
        run.model.eval()
        loss = squared(run.model(x), target(x)).mean()
        versions = [p._version for p in run.model.parameters()]
        run.model.train()
        engine = run.optimizer._fitting_engine()
        base_step, run.base.step = run.base.step, lambda *_: None
        engine.step(None)
        run.base.step = base_step
        self.assertEqual(run.kinds("leap")[-1]["outcome"], "rejected")
        self.assertEqual(versions, [p._version for p in run.model.parameters()])
        loss.backward()


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()

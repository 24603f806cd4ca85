"""leapverify.LeapVerify as a torch.optim.Optimizer, after the ideas of PyTorch's own optimizer tests.

Usage: optimizer_test.py [unittest options], with the package on PYTHONPATH
"""

import copy
import gc
import io
import math
import pickle
import tempfile
import unittest
import warnings
import weakref

import torch
from toy import ACCEPTING, EAGER, OPTIMIZERS, Net, Run, ToyEvaluator, differences, inputs, read_trace, squared, target

import leapverify
from leapverify import LeapVerify

DENOISED = dict(observe_every=5, probes=0, max_overhead=float("inf"), max_backoff=0,
                verification={"sequences": 16})

# Looked at in the middle and at the end.
AUTO = {"preset": "auto", "planned_steps": 40, "rate.looks": 2, "observe_every": 5, "max_overhead": float("inf")}


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class Promises(unittest.TestCase):
    def test_all_rejected_is_the_base_optimizer_bitwise(self):
        for base in OPTIMIZERS:
            for name, options in (("published", EAGER), ("denoised", {**DENOISED, "verification": EAGER["verification"]})):
                for closure in (False, True):
                    with self.subTest(base=base, options=name, closure=closure):
                        bare = Run(base=base).train(220, closure)
                        run = Run(options, base=base, reject=True).train(220, closure)
                        self.assertEqual(differences(bare.everything(), run.everything()), [])
                        candidates, leaps = run.kinds("candidate"), run.kinds("leap")
                        self.assertGreaterEqual(len(candidates), 20)
                        self.assertEqual({leap["outcome"] for leap in leaps}, {"rejected"})
                        for leap in leaps:
                            self.assertEqual(leap["digest_before"], leap["digest_after"])
                        before = leaps[0]["digest_before"]
                        self.assertNotEqual(candidates[0]["digest"], before)

    def test_disabled_is_the_base_optimizer_bitwise(self):
        bare = Run().train(60)
        run = Run({**EAGER, "enabled": False}).train(60)
        self.assertEqual(differences(bare.everything(), run.everything()), [])
        self.assertEqual(run.evaluator.evaluations, 0)
        self.assertNotIn("leapverify", run.optimizer.state_dict())

    def test_accepted_leaps_change_the_weights_in_place(self):
        bare, run = Run(), Run(ACCEPTING)
        addresses = [p.data_ptr() for p in run.model.parameters()]
        bare.train(40), run.train(40)
        self.assertTrue(any(leap["outcome"] == "committed" for leap in run.kinds("leap")))
        self.assertNotEqual(differences(bare.everything(), run.everything()), [])
        self.assertEqual(addresses, [p.data_ptr() for p in run.model.parameters()])

    def test_shadow_tries_and_never_commits(self):
        bare = Run().train(60)
        run = Run({**ACCEPTING, "mode": "shadow"}).train(60)
        self.assertEqual({leap["outcome"] for leap in run.kinds("leap")}, {"shadow"})
        self.assertEqual(differences(bare.everything(), run.everything()), [])

    def test_rate_rises_only_within_a_step(self):
        run = Run({**DENOISED, "verification": ACCEPTING["verification"]})
        seen = []
        run.base.register_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
        run.train(60)
        self.assertGreater(run.optimizer.status()["learning_rate_scale"], 1)
        self.assertGreater(max(seen), 3e-3)
        self.assertEqual(run.base.param_groups[0]["lr"], 3e-3)

    def test_rate_that_is_a_tensor_keeps_its_place(self):
        rate = torch.tensor(3e-3)
        run = Run({**DENOISED, "verification": ACCEPTING["verification"]},
                  base=lambda p: torch.optim.AdamW(p, lr=rate, foreach=False))
        run.train(60)
        self.assertGreater(run.optimizer.status()["learning_rate_scale"], 1)
        self.assertIs(run.base.param_groups[0]["lr"], rate)
        self.assertEqual(float(rate), float(torch.tensor(3e-3)))

    def test_free_finds_its_rate_from_any_without_a_held_out_loss(self):
        reached = []
        for rate in (1e-6, 1.0):
            # So few planned steps would pay for no try, of which nothing is to be said here.
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                run = Run({"preset": "free", "planned_steps": 80}, base=lambda p, rate=rate: torch.optim.AdamW(p, lr=rate))
            run.train(60)
            self.assertEqual(run.evaluator.evaluations, 0)
            self.assertEqual(run.optimizer.status()["off_reason"], "")
            reached.append(rate * run.optimizer.status()["learning_rate_scale"])
        self.assertLess(max(reached), 3 * min(reached))

    def test_free_ends_at_the_average_and_gives_momentum_back(self):
        for base in OPTIMIZERS:
            with self.subTest(base=base):
                run = Run({"preset": "free", "planned_steps": 40}, base=base)
                settings = [{k: v for k, v in group.items() if k != "params"} for group in run.base.param_groups]
                run.train(37)
                weights = lambda: [p.detach().clone() for p in run.model.parameters()]  # noqa: E731
                self.assertFalse(same(run.optimizer.at_average(weights), weights()))
                run.train(3)
                self.assertTrue(same(run.optimizer.at_average(weights), weights()))
                now = [{k: v for k, v in group.items() if k != "params"} for group in run.base.param_groups]
                self.assertEqual(settings, now)

    def test_free_caps_momentum(self):
        for kind, options, name, capped in (
            (torch.optim.AdamW, {}, "betas", (0.5, 0.999)),
            (torch.optim.SGD, {"momentum": 0.9}, "momentum", 0.75),
            (torch.optim.SGD, {"momentum": 0.6}, "momentum", 0.6),
        ):
            with self.subTest(kind=kind.__name__, **options):
                seen = []

                class Watching(kind):
                    def step(self, closure=None):
                        seen.append(self.param_groups[0][name])  # noqa: B023: called within the loop's turn
                        return super().step(closure)

                base = Watching([torch.nn.Parameter(torch.zeros(1))], lr=1e-3, **options)
                own = base.param_groups[0][name]
                run = Run({"preset": "free", "planned_steps": 40}, base=lambda p: Watching(p, lr=1e-3, **options))  # noqa: B023
                run.train(2)
                self.assertEqual(seen, [capped] * 2)
                self.assertEqual(run.base.param_groups[0][name], own)

    def test_free_trains_a_single_number_from_zero(self):
        model = torch.nn.Module()
        model.only = torch.nn.Parameter(torch.tensor(0.0))
        optimizer = leapverify.LeapVerify(torch.optim.AdamW([model.only], lr=1e-4), model, preset="free", planned_steps=100)
        for _ in range(100):
            optimizer.zero_grad()
            (model.only - 0.3).square().backward()
            optimizer.step()
        self.assertLess(abs(float(model.only.detach()) - 0.3), 0.05)

    def test_free_wants_the_length_of_the_run(self):
        run = Run({"preset": "free"})
        with self.assertRaisesRegex(leapverify.InvalidOption, "planned_steps.*0.*rate.free"):
            run.train(1)
        run.optimizer.planned_steps = 40
        run.train(1)
        self.assertEqual(run.optimizer.status()["step"], 1)

    def test_free_goes_on_with_other_parameters(self):
        run = Run({"preset": "free", "planned_steps": 40}).train(10)
        run.model.first.weight.requires_grad_(False)
        frozen = run.model.first.weight.detach().clone()
        scale = run.optimizer.status()["learning_rate_scale"]
        run.train(1)
        self.assertTrue(torch.equal(run.model.first.weight, frozen))
        self.assertLess(abs(math.log(run.optimizer.status()["learning_rate_scale"] / scale)), math.log(8))
        run.model.first.weight.requires_grad_(True)
        run.train(29)
        self.assertEqual(run.kinds("failure"), [])
        weights = lambda: [p.detach().clone() for p in run.model.parameters()]  # noqa: E731
        self.assertTrue(same(run.optimizer.at_average(weights), weights()))

    def test_free_ends_at_the_average_though_a_first_step_at_rate_0_is_not_counted(self):
        run = Run({"preset": "free", "planned_steps": 40})
        for step in range(40):
            run.base.param_groups[0]["lr"] = 3e-3 * min(1, step / 10)
            run.train(1)
        self.assertEqual(run.optimizer.status()["step"], 39)
        weights = lambda: [p.detach().clone() for p in run.model.parameters()]  # noqa: E731
        self.assertTrue(same(run.optimizer.at_average(weights), weights()))

    def test_auto_goes_on_with_other_parameters_and_is_looked_at_where_it_ends(self):
        run = Run(AUTO)
        for step in range(40):
            run.base.param_groups[0]["lr"] = 3e-3 * min(1, step / 10)
            run.model.first.weight.requires_grad_(not 3 < step < 20)
            run.train(1)
        self.assertEqual(run.kinds("failure"), [])
        # Kept anew when the parameters changed, after steps 3 and 19.
        self.assertEqual([(event["step"], event["best_step"]) for event in run.kinds("look")], [(10, 3), (39, 19)])

    def test_auto_is_loaded_bitwise_whatever_the_weights_of_the_checkpoint(self):
        whole = Run(AUTO).train(40)
        run = Run(AUTO).train(15)
        saved = copy.deepcopy(run.optimizer.state_dict())
        weights, buffers, random = run.optimizer.at_average(lambda: [p.detach().clone() for p in run.model.parameters()]), [
            b.clone() for b in run.model.buffers()], torch.get_rng_state()
        again = Run(AUTO)
        with torch.no_grad():
            for p, w in zip(again.model.parameters(), weights):
                p.copy_(w)
            for b, kept in zip(again.model.buffers(), buffers):
                b.copy_(kept)
        again.optimizer.load_state_dict(saved)
        again.steps = run.steps
        torch.set_rng_state(random)
        again.train(25)
        self.assertTrue(same([*whole.model.parameters()], [*again.model.parameters()]))

    def test_free_takes_a_closure_that_is_evaluated_twice(self):
        class Twice(torch.optim.AdamW):
            def step(self, closure=None):
                closure()
                return super().step(closure)

        def trained(base):
            run = Run({"preset": "free", "planned_steps": 40}, base=lambda p: base(p, lr=1e-3))
            for step in range(30):
                def closure(step=step):
                    torch.manual_seed(step)
                    run.steps = step
                    return run.backward()

                run.optimizer.step(closure)
            # Whose BatchNorm sees each batch twice.
            return run, [*map(torch.clone, run.model.parameters()), *run.optimizer.at_average(
                lambda: [p.detach().clone() for p in run.model.parameters()])]

        run, of_twice = trained(Twice)
        self.assertTrue(same(of_twice, trained(torch.optim.AdamW)[1]))
        self.assertEqual(run.base.param_groups[0]["betas"], (0.9, 0.999))
        self.assertEqual(run.base.param_groups[0]["lr"], 1e-3)

    def test_free_with_betas_of_other_kinds(self):
        for betas in ((0.9, 0.99), [0.9, 0.99], None):
            def make(p, betas=betas):
                made = torch.optim.SGD(p, lr=1e-3)
                made.param_groups[0]["betas"] = betas
                return made

            run = Run({"preset": "free", "planned_steps": 40}, base=make).train(3)
            self.assertEqual(run.base.param_groups[0]["betas"], betas)
            self.assertIs(type(run.base.param_groups[0]["betas"]), type(betas))

    def test_momentum_of_each_optimizer_that_has_it(self):
        for base in ("SGD", "Adam", "AdamW"):
            with self.subTest(base=base):
                run = Run({**ACCEPTING, "predictor": "momentum"}, base=base).train(40)
                self.assertTrue(run.kinds("candidate"))
                self.assertEqual(run.kinds("failure"), [])
        with self.assertRaisesRegex(leapverify.InvalidOption, "momentum"):
            Run({**ACCEPTING, "predictor": "momentum"}, base="RMSprop")

    def test_moments_are_reset_and_scaled(self):
        for base in OPTIMIZERS:
            for moments in ("reset", "scale"):
                with self.subTest(base=base, moments=moments):
                    options = {**ACCEPTING, "moments": moments, "moment_scale": 0.0 if moments == "scale" else 1}
                    run = Run(options, base=base)
                    sums = []
                    run.optimizer.register_step_post_hook(lambda *_: sums.append(sum(
                        float(v.abs().sum()) for s in run.base.state.values() for k, v in s.items()
                        if k != "step" and isinstance(v, torch.Tensor))))
                    run.train(10)
                    self.assertEqual([leap["outcome"] for leap in run.kinds("leap")], ["committed"])
                    self.assertEqual(sums[9], 0)
                    self.assertGreater(sums[8], 0)


class Pretender(unittest.TestCase):
    def test_is_an_optimizer_whose_parts_are_the_base_optimizer_s(self):
        run = Run(EAGER)
        self.assertIsInstance(run.optimizer, torch.optim.Optimizer)
        for name in ("param_groups", "state", "defaults"):
            self.assertIs(getattr(run.optimizer, name), getattr(run.base, name))
        run.optimizer.state = {}
        run.optimizer.defaults = {"lr": 1}
        groups = [dict(run.base.param_groups[0])]
        run.optimizer.param_groups = groups
        self.assertEqual(run.base.state, {})
        self.assertEqual(run.base.defaults, {"lr": 1})
        self.assertIs(run.base.param_groups, groups)
        self.assertIn("AdamW", repr(run.optimizer))

    def test_schedulers_on_wrapper_or_base_move_the_real_rate(self):
        ends = []
        for which in ("optimizer", "base"):
            for make in (lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
                         lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.01, total_steps=60)):
                run = Run(EAGER, reject=True)
                scheduler = make(getattr(run, which))
                for _ in range(50):
                    run.train(1)
                    scheduler.step()
                ends.append((run.base.param_groups[0]["lr"], run.model.second.weight.sum().item()))
        self.assertEqual(ends[:2], ends[2:])
        self.assertNotEqual(ends[0], ends[1])

    def test_no_warning_that_the_scheduler_was_called_first(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run = Run(EAGER)
            scheduler = torch.optim.lr_scheduler.StepLR(run.optimizer, 10)
            run.train(1)
            scheduler.step()

    def test_added_group_is_trained_and_leapt(self):
        run = Run({**DENOISED, "verification": ACCEPTING["verification"], "on_accept": "both"})
        extra = torch.nn.Parameter(torch.ones(3))
        run.model.extra = extra
        run.train(12)
        tries = run.optimizer.status()["tries"]
        run.optimizer.add_param_group({"params": [extra], "lr": 0.1})
        self.assertEqual(len(run.base.param_groups), 2)
        for _ in range(20):
            run.backward()
            extra.grad = torch.ones(3)
            run.optimizer.step()
        self.assertGreater(run.optimizer.status()["tries"], tries)
        self.assertEqual(run.optimizer.status()["step"], 32)
        self.assertEqual(run.kinds("failure"), [])
        self.assertLess(float(extra.detach().sum()), 3)

    def test_frozen_parameter_stays(self):
        run = Run({**DENOISED, "verification": ACCEPTING["verification"], "on_accept": "both"}).train(12)
        run.model.first.weight.requires_grad_(False)
        frozen = run.model.first.weight.clone()
        run.model.first.weight.grad = None
        run.train(20)
        self.assertEqual(run.kinds("failure"), [])
        self.assertTrue(torch.equal(frozen, run.model.first.weight))
        self.assertEqual(run.optimizer.status()["step"], 32)

    def test_hooks(self):
        run = Run(EAGER)
        calls = []
        run.optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
        run.optimizer.register_step_post_hook(lambda *_: calls.append("post"))
        run.optimizer.register_state_dict_pre_hook(lambda *_: calls.append("state pre"))
        run.optimizer.register_state_dict_post_hook(lambda _, state: {**state, "mine": 1})
        run.optimizer.register_load_state_dict_pre_hook(lambda _, state: {k: v for k, v in state.items() if k != "mine"})
        run.optimizer.register_load_state_dict_post_hook(lambda *_: calls.append("loaded"))
        run.train(1)
        state = run.optimizer.state_dict()
        self.assertEqual(state["mine"], 1)
        run.optimizer.load_state_dict(state)
        self.assertEqual(calls, ["pre", "post", "state pre", "loaded"])

    def test_step_returns_what_the_base_optimizer_returns(self):
        run = Run(EAGER)
        self.assertEqual(run.optimizer.step(lambda: run.backward()).item(), Run().optimizer.step(Run().backward).item())
        run.backward()
        self.assertIsNone(run.optimizer.step())
        self.assertEqual(run.optimizer.step(lambda: (run.backward(), 17)[1]), 17)

    def test_closure_that_raises_passes_and_changes_nothing(self):
        run = Run(EAGER).train(7)
        before = run.everything()
        for error in (ValueError("mine"), KeyboardInterrupt()):
            def closure(error=error):
                raise error
            with self.assertRaises(type(error)):
                run.optimizer.step(closure)
            self.assertEqual(differences(before, run.everything()), [])
        run.train(1)

    def test_attributes_of_the_base_optimizer(self):
        run = Run(EAGER)
        run.base.train = lambda: "mine"
        self.assertEqual(run.optimizer.train(), "mine")
        with self.assertRaises(AttributeError):
            run.optimizer.nonsense
        self.assertFalse(hasattr(LeapVerify.__new__(LeapVerify), "train"))

    def test_no_gradients_or_no_rate_is_no_step(self):
        run = Run(ACCEPTING).train(9)
        before = run.everything()
        run.optimizer.zero_grad()
        run.optimizer.step()
        self.assertEqual(run.optimizer.status()["step"], 9)
        self.assertEqual([d for d in differences(before, run.everything()) if not d.startswith("grad")], [])
        run.base.param_groups[0]["lr"] = 0.0
        run.train(3)
        self.assertEqual(run.optimizer.status()["step"], 9)
        self.assertEqual(run.kinds("leap"), [])

    def test_zero_gradients_move_nothing_where_the_base_optimizer_does_not(self):
        for base in OPTIMIZERS:
            with self.subTest(base=base):
                run = Run(ACCEPTING, base=base)
                before = {n: p.detach().clone() for n, p in run.model.named_parameters()}
                for _ in range(30):
                    for p in run.model.parameters():
                        p.grad = torch.zeros_like(p)
                    for group in run.base.param_groups:
                        group["weight_decay"] = 0
                    run.optimizer.step()
                self.assertEqual(differences(before, dict(run.model.named_parameters())), [])

    def test_closure_may_set_the_rate(self):
        run = Run({**DENOISED, "verification": ACCEPTING["verification"]}).train(40)
        scale = run.optimizer.status()["learning_rate_scale"]
        self.assertGreater(scale, 1)
        seen = []
        run.base.register_step_post_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))

        def closure():
            run.base.param_groups[0]["lr"] = 1e-3
            return run.backward()
        run.optimizer.step(closure)
        self.assertEqual(seen, [1e-3 * run.optimizer.status()["learning_rate_scale"]])
        self.assertEqual(run.base.param_groups[0]["lr"], 1e-3)

    def test_is_freed(self):
        with tempfile.TemporaryDirectory() as folder:
            run = Run(EAGER, trace=f"{folder}/trace.jsonl").train(13)
            alive = weakref.ref(run.model)
            del run
            gc.collect()
            self.assertIsNone(alive())

    def test_named_parameters(self):
        model = Net()
        base = torch.optim.AdamW(model.named_parameters(), lr=1e-3)
        optimizer = LeapVerify(base, ToyEvaluator(model), **EAGER)
        squared(model(inputs(0)), target(inputs(0))).mean().backward()
        optimizer.step()
        self.assertEqual(optimizer.state_dict()["param_groups"][0]["param_names"][0], "first.weight")


class State(unittest.TestCase):
    OPTIONS = {"published": EAGER, "accepting": ACCEPTING,
               "denoised": {**DENOISED, "verification": ACCEPTING["verification"], "on_accept": "both"}}

    def resumed(self, run, options, base, state):
        """Another run at the same place, from what was saved."""
        other = Run(options, base=base)
        other.model.load_state_dict(run.model.state_dict())
        other.optimizer.load_state_dict(state)
        other.steps = run.steps
        return other

    def test_clone_takes_equal_steps(self):
        for base in OPTIMIZERS:
            for name, options in self.OPTIONS.items():
                for steps in (0, 13):
                    with self.subTest(base=base, options=name, steps=steps):
                        run = Run(options, base=base).train(steps)
                        file = io.BytesIO()
                        torch.save(run.optimizer.state_dict(), file)
                        file.seek(0)
                        other = self.resumed(run, options, base, torch.load(file, weights_only=True))
                        generator = torch.get_rng_state()
                        run.train(20)
                        torch.set_rng_state(generator)
                        other.train(20)
                        self.assertEqual(differences(run.everything(), other.everything()), [])
                        self.assertEqual(run.events[-1], other.events[-1])

    def test_pending_leap_is_carried_over(self):
        options = {**ACCEPTING, "gate": "next_batch"}

        def batch(run):
            x = inputs(run.steps)
            run.steps += 1
            return leapverify.TrainingBatch(16, lambda: squared(run.model(x), target(x)), run.optimizer.zero_grad)

        run = Run(options)
        for _ in range(10):
            run.optimizer.step(batch(run))
        self.assertEqual(run.kinds("leap"), [])
        self.assertEqual(run.kinds("observation")[-1]["horizons"], [2, 5])
        other = self.resumed(run, options, "AdamW", copy.deepcopy(run.optimizer.state_dict()))
        generator = torch.get_rng_state()
        run.optimizer.step(batch(run))
        torch.set_rng_state(generator)
        other.optimizer.step(batch(other))
        self.assertEqual(len(run.kinds("leap")), 1)
        self.assertEqual(run.kinds("leap"), other.kinds("leap"))
        self.assertEqual(differences(run.everything(), other.everything()), [])

    def test_pending_leap_is_given_up_where_parameters_change(self):
        run = Run({**ACCEPTING, "gate": "next_batch"})
        for step in range(12):
            x = inputs(step)
            if step == 10:
                self.assertEqual(run.kinds("observation")[-1]["horizons"], [2, 5])
                run.model.second.weight.requires_grad_(False)
                run.model.second.weight.grad = None
            run.optimizer.step(leapverify.TrainingBatch(
                16, lambda x=x: squared(run.model(x), target(x)), run.optimizer.zero_grad))
        self.assertEqual(run.kinds("failure"), [])

    def test_copies_leave_the_trace_file_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            run = Run(EAGER, trace=f"{folder}/trace.jsonl").train(13)
            copied = copy.deepcopy(run.optimizer)
            copied.param_groups[0]["params"][0].grad = torch.ones_like(copied.param_groups[0]["params"][0])
            for _ in range(10):
                copied.step()
            run.train(10)
            self.assertEqual([e["step"] for e in read_trace(f"{folder}/trace.jsonl") if e["event"] == "observation"],
                             [5, 10, 15, 20])

    def test_kept_state_is_put_back_in_place_and_in_its_own_precision(self):
        parameter = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
        base = torch.optim.SGD([parameter], lr=torch.tensor(0.1), momentum=0.9)
        moment = torch.full((4,), 1 / 3)
        base.state[parameter]["momentum_buffer"] = moment
        rate = base.param_groups[0]["lr"]
        put_back = leapverify._access.OptimizerAccess(base).keep_state()
        moment.mul_(3), rate.fill_(7)
        base.state[parameter]["other"] = 1
        put_back()
        self.assertIs(base.state[parameter]["momentum_buffer"], moment)
        self.assertTrue(torch.equal(moment, torch.full((4,), 1 / 3)))
        self.assertEqual(list(base.state[parameter]), ["momentum_buffer"])
        self.assertIs(base.param_groups[0]["lr"], rate)
        self.assertEqual(float(rate), float(torch.tensor(0.1)))

    def test_state_dict_is_deterministic_and_keyed_by_position(self):
        run = Run(EAGER).train(13)
        a, b = run.optimizer.state_dict(), run.optimizer.state_dict()
        self.assertEqual(list(a["state"]), list(range(len(list(run.model.parameters())))))
        self.assertEqual(a["leapverify"]["core"], b["leapverify"]["core"])
        self.assertEqual(list(a["leapverify"]["tensors"]), list(b["leapverify"]["tensors"]))
        self.assertNotIn("0x", a["leapverify"]["core"])

    def test_state_of_the_base_optimizer_alone_begins_anew(self):
        run = Run(EAGER).train(13)
        state = Run().train(13).base.state_dict()
        run.optimizer.load_state_dict(state)
        self.assertEqual(run.optimizer.status()["step"], 0)
        run.train(20)
        with tempfile.TemporaryDirectory() as folder:
            traced = Run(EAGER, trace=f"{folder}/trace.jsonl").train(13)
            lines = read_trace(f"{folder}/trace.jsonl")
            traced.optimizer.load_state_dict(state)
            traced.train(6)
            self.assertEqual(read_trace(f"{folder}/trace.jsonl")[:len(lines)], lines)
        bare = Run()
        bare.optimizer.load_state_dict(run.optimizer.state_dict())  # and the other way round
        bare.train(1)

    def test_state_that_does_not_fit_changes_nothing(self):
        run = Run(ACCEPTING).train(13)
        good = copy.deepcopy(run.optimizer.state_dict())
        before, status = run.everything(), run.optimizer.status()

        def version(leap):
            leap["version"] = 1

        def missing(leap):
            leap["tensors"].popitem()

        def text(leap):
            leap["core"] = "{}"

        def nothing(leap):
            del leap["tensors"]

        def shape(leap):
            name = next(n for n in leap["tensors"] if n.startswith("snapshot"))
            leap["tensors"][name] = torch.zeros(7)

        for damage in (version, missing, text, nothing, shape):
            with self.subTest(damage=damage.__name__):
                state = copy.deepcopy(good)
                damage(state["leapverify"])
                with self.assertRaisesRegex(ValueError, "LeapVerify state"):
                    run.optimizer.load_state_dict(state)
                self.assertEqual(differences(before, run.everything()), [])
                self.assertEqual(run.optimizer.status(), status)
        state = copy.deepcopy(good)
        state["param_groups"].append(state["param_groups"][0])
        with self.assertRaises(ValueError):
            run.optimizer.load_state_dict(state)
        with self.assertRaisesRegex(leapverify.FormatError, r"holds \['leapverify', 'state'\]"):
            run.optimizer.load_state_dict({name: part for name, part in good.items() if name != "param_groups"})
        self.assertEqual(run.optimizer.status(), status)

    def test_pickle_and_deepcopy(self):
        for how in (copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))):
            run = Run(ACCEPTING, trace=None).train(13)
            copied = how(run.optimizer)
            model = copied.evaluator.model
            self.assertIsNot(model, run.model)
            self.assertIs(copied.param_groups[0]["params"][0], model.first.weight)
            other = Run()
            other.model, other.base, other.optimizer = model, copied.base_optimizer, copied
            other.steps = run.steps
            torch.manual_seed(1)
            run.train(12)
            torch.manual_seed(1)
            other.train(12)
            self.assertEqual(differences(run.everything(), other.everything()), [])
            self.assertEqual(run.optimizer.status(), copied.status())

    @unittest.skipUnless(torch.cuda.is_available() and leapverify.cuda, "needs a GPU")
    def test_state_of_the_cpu_goes_on_on_a_gpu(self):
        run = Run(ACCEPTING).train(13)
        other = Run()
        other.model.load_state_dict(run.model.state_dict())
        other.model.cuda()
        other.evaluator = ToyEvaluator(other.model)
        other.optimizer = LeapVerify(other.base, other.evaluator, trace=other.events.append, **ACCEPTING)
        other.optimizer.load_state_dict(run.optimizer.state_dict())
        for step in range(13, 33):
            x = inputs(step).cuda()
            other.optimizer.zero_grad()
            squared(other.model(x), target(x)).mean().backward()
            other.optimizer.step()
        self.assertEqual(other.optimizer.status()["step"], 33)
        self.assertEqual(other.kinds("failure"), [])
        self.assertTrue(other.kinds("leap"))

    def test_trace_file_is_cut_to_the_checkpoint(self):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/trace.jsonl"
            run = Run(EAGER, trace=path).train(21)
            state = copy.deepcopy(run.optimizer.state_dict())
            weights = copy.deepcopy(run.model.state_dict())
            run.train(20)
            whole = read_trace(path)
            other = Run(EAGER, trace=path)
            other.model.load_state_dict(weights)
            other.optimizer.load_state_dict(state)
            other.steps = 21
            other.train(20)
            self.assertEqual([e["event"] for e in read_trace(path)], [e["event"] for e in whole])
            self.assertEqual(whole[0]["event"], "start")


class ThirdParties(unittest.TestCase):
    def test_sparse_gradients(self):
        def trained(wrapped):
            torch.manual_seed(1)
            model = torch.nn.EmbeddingBag(50, 4, mode="sum", sparse=True)
            x = torch.arange(600).view(200, 3) % 50
            evaluator = leapverify.BatchEvaluator(model, [x], lambda m, b: m(b).square().sum(1), sequences_per_step=20)
            optimizer = torch.optim.SparseAdam(list(model.parameters()), lr=1e-2)
            if wrapped:
                optimizer = leapverify.LeapVerify(optimizer, evaluator, **{
                    **EAGER, "probes": 0, "detector.signal": "delta_cosine",
                    "verification": {"sequences": 16, "margin": 1e9}})
            for step in range(60):
                optimizer.zero_grad()
                model(x[step % 10 * 20:][:20]).square().sum().backward()
                optimizer.step()
            return model.weight.detach(), optimizer
        bare, _ = trained(False)
        weights, optimizer = trained(True)
        self.assertGreater(optimizer.status()["candidates"], 0)
        self.assertTrue(torch.equal(weights, bare))

    def test_every_optimizer_of_torch(self):
        skipped = {"Optimizer", "LBFGS", "SparseAdam"}
        names = [n for n in dir(torch.optim) if isinstance(getattr(torch.optim, n), type)
                 and issubclass(getattr(torch.optim, n), torch.optim.Optimizer) and n not in skipped]
        self.assertGreaterEqual(len(names), 12)
        for name in names:
            with self.subTest(optimizer=name):
                def make(parameters, name=name):
                    parameters = [p for p in parameters if p.dim() == 2] if name == "Muon" else parameters
                    return getattr(torch.optim, name)(parameters, lr=1e-3)
                bare = Run(base=make).train(60)
                run = Run(EAGER, base=make, reject=True).train(60)
                self.assertEqual(differences(bare.everything(), run.everything()), [])
                self.assertEqual(run.kinds("failure"), [])
                self.assertTrue(run.kinds("candidate"))

    def test_schedulefree(self):
        import schedulefree

        def make(parameters):
            return schedulefree.AdamWScheduleFree(parameters, lr=3e-3)
        ends = []
        for options, reject in ((None, False), (EAGER, True), ({**DENOISED, "verification": ACCEPTING["verification"]}, False)):
            run = Run(options, base=make, reject=reject)
            run.optimizer.train()
            run.train(60)
            run.optimizer.eval()
            ends.append(run.everything())
        self.assertEqual(differences(ends[0], ends[1]), [])
        self.assertGreater(run.optimizer.status()["learning_rate_scale"], 1)

    def test_what_cannot_work_is_refused(self):
        with self.assertRaisesRegex(leapverify.InvalidOption, "LBFGS"):
            Run(EAGER, base=lambda p: torch.optim.LBFGS(p))
        with self.assertRaisesRegex(leapverify.InvalidOption, "not parameters of the evaluator's model"):
            Run(EAGER, base=lambda p: torch.optim.SGD([q.detach().clone().requires_grad_() for q in p], lr=1.0))

        inner = Run(EAGER)
        with self.assertRaisesRegex(leapverify.InvalidOption, "LeapVerify: it wraps another one"):
            LeapVerify(inner.optimizer, inner.evaluator)

        class Masters(torch.optim.SGD):
            fp32_groups_flat = []
        with self.assertRaisesRegex(leapverify.InvalidOption, "float32 weights"):
            Run(EAGER, base=lambda p: Masters(p, lr=1.0))

        class Mine(torch.optim.SGD):
            pass
        Mine.__module__ = "mine"
        with self.assertRaisesRegex(leapverify.InvalidOption, "moments: the state of mine.Mine is not known"):
            Run({**EAGER, "moments": "reset"}, base=lambda p: Mine(p, lr=1.0))


class Options(unittest.TestCase):
    def test_a_cap_that_pays_for_no_try_is_told(self):
        with self.assertWarnsRegex(UserWarning, r"nothing will be tried, for a try takes at least \d+ forward passes"):
            Run({"planned_steps": 60})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Run({"planned_steps": 60, "max_overhead": math.inf})

    def test_wrong_options_name_value_and_what_is_legal(self):
        for options, words in (
            ({"observe_evry": 5}, "observe_evry = 5; did you mean observe_every?"),
            ({"rate": 2.0}, "rate = 2.0; legal is a dictionary with any of start, growth, largest"),
            ({"observe_every": 0}, "observe_every.*0.*≥ 1"),
            ({"observe_every": 2.5}, "observe_every.*2.5.*integer"),
            ({"observe_every": True}, "observe_every.*True.*integer"),
            ({"predictor": "nonsense"}, "predictor.*nonsense.*linear"),
            ({"verification": {"rule": "never"}}, r"verification\.rule.*never.*sequential"),
            ({"verification.alpha": 7}, r"verification\.alpha.*7"),
            ({"horizons": [1, "two"]}, "horizons.*two.*list"),
            ({"enabled": 1}, "enabled.*1.*True or False"),
            ({"preset": "best"}, "preset.*best.*free.*paper"),
            ({"preset": "free", "rate.largest": 4}, "rate.largest.*4.*rate.free"),
            ({"planned_steps": -1}, "planned_steps.*-1"),
            ({"planned_steps": 400.5}, "planned_steps.*400.5"),
            ({"trace": 3}, "trace = 3"),
            ({"verification": {"when": "raced"}}, "StepRunner|runner"),
        ):
            with self.subTest(options=options), self.assertRaisesRegex(leapverify.InvalidOption, words) as caught:
                Run(options)
            self.assertEqual(len(str(caught.exception).splitlines()), 1)
            self.assertIsInstance(caught.exception, ValueError)

    def test_trace_that_cannot_be_written(self):
        with self.assertRaises(OSError):
            Run(EAGER, trace="/no/such/folder/trace.jsonl")

        def fails(event):
            raise ValueError("my logger")
        bare = Run().train(60)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run = Run(EAGER, trace=fails, reject=True).train(60)
        self.assertEqual(len([w for w in caught if "my logger" in str(w.message)]), 1)
        self.assertEqual(run.optimizer.status()["off_reason"], "")
        self.assertGreater(run.optimizer.status()["candidates"], 0)
        self.assertEqual(differences(bare.everything(), run.everything()), [])

    def test_groups_may_be_nested_or_dotted(self):
        a = Run({**EAGER, "verification": {"sequences": 16}, "rate": {"growth": 2}}).train(6)
        b = Run({**{k: v for k, v in EAGER.items() if k != "verification"}, "verification.sequences": 16,
                 "rate.growth": 2}).train(6)
        self.assertEqual(a.events[0], b.events[0])

    def test_free_takes_the_model_alone(self):
        asked = Run({"preset": "free", "planned_steps": 40}).train(40)
        alone = Run()
        alone.optimizer = LeapVerify(alone.base, alone.model, preset="free", planned_steps=40)
        alone.train(40)
        self.assertTrue(same(*([p.detach() for p in run.model.parameters()] for run in (asked, alone))))
        self.assertEqual(asked.optimizer.status(), alone.optimizer.status())
        other = Run()
        other.optimizer = LeapVerify(other.base, other.model, preset="free", planned_steps=40)
        other.optimizer.load_state_dict(alone.optimizer.state_dict())
        class Both(torch.nn.Module, ToyEvaluator):
            def __init__(self, model):
                torch.nn.Module.__init__(self)
                ToyEvaluator.__init__(self, model)

        run = Run()
        LeapVerify(run.base, Both(run.model), **ACCEPTING)
        for refused in ({}, {"preset": "paper"}, {"preset": "free", "probes": 8, "planned_steps": 40}):
            with self.assertRaisesRegex(leapverify.InvalidOption, "evaluator is a model alone"):
                LeapVerify(Run().base, other.model, **refused)
        LeapVerify(Run().base, other.model, enabled=False)

    def test_evaluator_is_needed(self):
        model = Net()
        base = torch.optim.SGD(model.parameters(), lr=0.1)
        with self.assertRaisesRegex(leapverify.InvalidOption, "evaluator is None"):
            LeapVerify(base)
        LeapVerify(base, enabled=False)
        LeapVerify(base, ToyEvaluator(model), planned_steps=400.0)

        class Mine(leapverify.Evaluator):
            def __len__(self):
                return 200
        with self.assertRaisesRegex(leapverify.InvalidOption, "`model`"):
            LeapVerify(base, Mine())
        with self.assertRaisesRegex(leapverify.InvalidOption, "base optimizer = Net"):
            LeapVerify(model, ToyEvaluator(model))
        with self.assertRaisesRegex(leapverify.InvalidOption, "sequences"):
            LeapVerify(base, ToyEvaluator(model, rows=8))

    def test_help_tells_every_option(self):
        for name, _, _, meaning in leapverify._core.Options("auto", {}, 0).describe():
            self.assertIn(f"{name} (", LeapVerify.__doc__)
            self.assertIn(meaning, LeapVerify.__doc__)

    def test_raced_through_a_runner(self):
        bare = Run().train(60)
        run = Run()

        class Runner:
            def position(self):
                return run.steps, run.steps

            def seek(self, data, schedule):
                run.steps = data

            def backward(self):
                run.backward()

        run.optimizer = LeapVerify(run.base, run.evaluator, runner=Runner(), trace=run.events.append,
                                   **{**EAGER, "verification": {"sequences": 16, "when": "raced", "settle_steps": 3}})
        run.evaluator.reject = True
        run.train(60)
        self.assertTrue(run.kinds("candidate"))
        self.assertEqual(run.kinds("failure"), [])
        self.assertEqual(differences(bare.everything(), run.everything()), [])


class Average(unittest.TestCase):
    def test_runs_at_the_average_and_puts_the_weights_back(self):
        run = Run(DENOISED)
        self.assertFalse(run.optimizer.has_average())
        run.train(7)
        self.assertTrue(run.optimizer.has_average())
        before = run.everything()
        average = run.optimizer.at_average(lambda: run.model.first.weight.detach().clone())
        self.assertFalse(torch.equal(average, run.model.first.weight))
        with self.assertRaisesRegex(RuntimeError, "mine"):
            run.optimizer.at_average(self._raise)
        self.assertEqual(differences(before, run.everything()), [])
        with self.assertRaises(leapverify.ContractError):
            Run(EAGER).train(7).optimizer.at_average(lambda: None)

    @staticmethod
    def _raise():
        raise RuntimeError("mine")


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()

"""Two processes over Gloo: DDP, and FSDP2 on local shards. Every rank comes to the same verdicts.

Usage: distributed_test.py [unittest options], with the package on PYTHONPATH
"""

import functools
import os
import socket
import tempfile
import unittest

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import leapverify
from toy import ACCEPTING, EAGER, inputs, squared, target

WORLD = 2
REJECTING = {**EAGER, "verification": {"sequences": 16, "margin": 1e9}}
NEXT_BATCH = {**EAGER, "gate": "next_batch", "verification": {"sequences": 32}}
SHARDED = {**ACCEPTING, "predictor": "least_squares", "on_accept": "both", "reference": "denoised",
           "detector.signal": "delta_cosine", "trust_norm": 0.1, "trust_path": 0.5}


FREE = {"preset": "free", "planned_steps": 60}
# Looks at 4, 15, 34 and 60.
AUTO = {"preset": "auto", "planned_steps": 60, "rate.looks": 4, "max_overhead": float("inf"), "verification.max_sequences": 64}


def net():
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(8, 33), nn.Tanh(), nn.Linear(33, 1), nn.Flatten(0))


def evaluator_of(model, noise=0.0, fails=False, sign=1.0):
    x = inputs(999, 128)

    class Evaluator(leapverify.BatchEvaluator):
        evaluated = 0

        def evaluate(self, sequences, activations):
            self.evaluated += len(sequences)
            losses, vectors = super().evaluate(sequences, activations)
            if fails and dist.get_rank() == 1:
                raise RuntimeError("mine")
            return sign * losses + noise * dist.get_rank(), vectors
    return Evaluator(model, [(x, target(x))], lambda m, b: squared(m(b[0]), b[1]), sequences_per_step=32)


def train(rank, kind, options, steps, noise=0.0, fails=False, sign=1.0):
    model = net()
    if kind.startswith("fsdp"):
        # The last layer is the root's own, which stays whole after a forward pass.
        if kind == "fsdp":
            fully_shard(model[0])
        fully_shard(model)
    if kind == "fsdp stale":
        leapverify._access.ModelAccess.reshard = lambda _: None
    wrapped = DistributedDataParallel(model) if kind in ("ddp", "ddp given", "torn", "unlike") else model
    group = {"process_group": dist.new_group(list(range(WORLD)))} if kind == "ddp given" else {}
    base = torch.optim.AdamW(model.parameters(), lr=3e-3)
    events = []
    optimizer = base
    if options is not None:
        gate = evaluator_of(wrapped, noise, fails, sign)
        options = {**options, "probes": 0, "detector.signal": "delta_cosine"}
        optimizer = leapverify.LeapVerify(base, gate, trace=events.append, **group, **options)
    for step in range(steps):
        x = inputs(step, 32)[rank * 16:][:16]
        if rank == 1 and step == {"torn": 8, "unlike": 0}.get(kind):
            with torch.no_grad():
                model[0].bias.mul_(1 + 1e-6)
        try:
            if options is not None and options.get("gate") == "next_batch":
                optimizer.step(leapverify.TrainingBatch(16, lambda: squared(wrapped(x), target(x)), optimizer.zero_grad))
                continue
            optimizer.zero_grad()
            squared(wrapped(x), target(x)).mean().backward()
            optimizer.step()
        except leapverify.CollectiveError as error:
            return [], events, {"error": str(error)}
    if kind == "fsdp stale":
        return [], events, optimizer.status()
    whole = [p.full_tensor() if kind == "fsdp" else p for p in model.parameters()]
    status = optimizer.status() if options is not None else {}
    if options is not None:
        status["evaluated"] = gate.evaluated
    if kind == "fsdp" and options is not None:
        status["state"] = sorted(optimizer.leap_state()["tensors"])
        optimizer.load_state_dict(optimizer.state_dict())
        if optimizer.has_average():
            x = inputs(999, 32)
            with torch.no_grad():
                status["losses"] = [float(squared(wrapped(x), target(x)).mean())]
                status["losses"].append(optimizer.at_average(lambda: float(squared(wrapped(x), target(x)).mean())))
                status["losses"].append(float(squared(wrapped(x), target(x)).mean()))
    return [p.detach().clone() for p in whole], events, status


def start(rank, port, out, jobs):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    torch.save([train(rank, *job) for job in jobs], f"{out}/{rank}.pt")
    dist.destroy_process_group()


def on_ranks(world, function, **arguments):
    """What function(rank, port, out) saved on each rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as out:
        mp.start_processes(functools.partial(function, port=port, out=out, **arguments), nprocs=world, start_method="spawn")
        return [torch.load(f"{out}/{rank}.pt") for rank in range(world)]


def on_two_ranks(*jobs):
    """What each rank found in each job: [job][rank] (weights, events, status)."""
    return list(zip(*on_ranks(WORLD, start, jobs=jobs), strict=True))


def verdicts(events):
    return [(e["step"], e.get("horizon"), e.get("verdict"), e.get("outcome"), e.get("reason"))
            for e in events if e["event"] in ("candidate", "leap", "look", "failure")]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class TwoRanks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The stale one breaks what comes after it.
        names = ["ddp bare", "ddp rejecting", "ddp accepting", "ddp noisy", "ddp failing", "fsdp bare", "fsdp rejecting",
                 "fsdp sharded", "fsdp failing", "ddp whole", "ddp next batch", "torn", "unlike", "ddp given",
                 "ddp free", "fsdp free", "ddp auto", "fsdp auto", "ddp auto worse", "fsdp auto worse", "fsdp stale"]
        jobs = [("ddp", None, 60), ("ddp", REJECTING, 60), ("ddp", ACCEPTING, 60), ("ddp", EAGER, 60, 1e-3),
                ("ddp", EAGER, 60, 0.0, True), ("fsdp", None, 60), ("fsdp", REJECTING, 60), ("fsdp", SHARDED, 60),
                ("fsdp", EAGER, 60, 0.0, True), ("ddp", SHARDED, 60),
                ("ddp", NEXT_BATCH, 60), ("torn", ACCEPTING, 60), ("unlike", EAGER, 60), ("ddp given", ACCEPTING, 60),
                ("ddp", FREE, 60), ("fsdp", FREE, 60), ("ddp", AUTO, 60, 1e-3), ("fsdp", AUTO, 60, 1e-3),
                ("ddp", AUTO, 60, 1e-3, False, -1.0), ("fsdp", AUTO, 60, 1e-3, False, -1.0),
                ("fsdp stale", ACCEPTING, 20)]
        cls.found = dict(zip(names, on_two_ranks(*jobs), strict=True))

    def check_same_on_both(self, name):
        (first, first_events, first_status), (second, second_events, second_status) = self.found[name]
        self.assertTrue(equal(first, second), name)
        self.assertEqual(verdicts(first_events), verdicts(second_events))
        for status in (first_status, second_status):
            status.pop("state", None)
        self.assertEqual(first_status, second_status)
        return first, first_events

    def test_all_rejected_is_the_base_optimizer(self):
        for kind in ("ddp", "fsdp"):
            weights, events = self.check_same_on_both(f"{kind} rejecting")
            self.assertTrue([e for e in events if e["event"] == "candidate"])
            self.assertTrue(equal(weights, self.found[f"{kind} bare"][0][0]))

    def test_leaps_are_the_same_on_both_ranks(self):
        for name in ("ddp accepting", "fsdp sharded"):
            _, events = self.check_same_on_both(name)
            self.assertTrue([e for e in events if e["event"] == "leap" and e["outcome"] == "committed"], name)
            self.assertFalse([e for e in events if e["event"] == "failure"], name)

    def test_a_process_group_may_be_given(self):
        weights, events = self.check_same_on_both("ddp given")
        self.assertEqual(verdicts(events), verdicts(self.found["ddp accepting"][0][1]))
        self.assertTrue(equal(weights, self.found["ddp accepting"][0][0]))

    def test_replicas_share_the_sequences_and_shards_run_all(self):
        forwards = {}
        for name in ("ddp accepting", "ddp rejecting", "fsdp rejecting"):
            for _, _, status in self.found[name]:
                self.assertEqual(status["evaluated"], status["forwards"] / WORLD, name)
                forwards[name] = status["forwards"]
        self.assertEqual(forwards["fsdp rejecting"], WORLD * forwards["ddp rejecting"])

    def test_root_that_stays_whole_is_found_out(self):
        for _, _, status in self.found["fsdp stale"]:
            self.assertIn("stay the same", status["off_reason"])

    def test_state_of_each_rank_has_names_of_its_own(self):
        for rank, (_, _, status) in enumerate(self.found["fsdp sharded"]):
            names = status.get("state", [f"rank{rank}."])
            self.assertTrue(all(name.startswith(f"rank{rank}.") for name in names))

    def test_average_answers_for_itself_and_leaves_the_weights(self):
        before, average, after = self.found["fsdp sharded"][0][2]["losses"]
        self.assertNotEqual(before, average)
        self.assertEqual(before, after)

    def test_the_next_batch_of_all_ranks_is_held_out_data(self):
        _, events = self.check_same_on_both("ddp next batch")
        self.assertEqual({e["pairs"] for e in events if e["event"] == "candidate"}, {32})

    def test_weights_that_differ_stop_the_run_and_name_the_rank(self):
        for name, words in (("torn", "weights after the leap at step "), ("unlike", "weights: ")):
            for _, _, status in self.found[name]:
                self.assertIn(words, status["error"])
                self.assertIn("rank 1 has another than rank 0", status["error"])

    def test_ranks_with_different_losses_decide_alike(self):
        _, events = self.check_same_on_both("ddp noisy")
        self.assertTrue([e for e in events if e["event"] == "candidate"])

    def test_a_rank_whose_evaluator_fails_ends_the_try_on_both(self):
        for kind in ("ddp", "fsdp"):
            (weights, first, _), (_, second, _) = self.found[f"{kind} failing"]
            self.assertEqual(len([e for e in first if e["event"] == "failure"]), 3)
            self.assertEqual([e["step"] for e in first if e["event"] == "failure"],
                             [e["step"] for e in second if e["event"] == "failure"])
            self.assertEqual([e for e in first if e["event"] == "failure"][0]["reason"], "on rank 1: RuntimeError: mine")
            self.assertTrue(equal(weights, self.found[f"{kind} bare"][0][0]))

    def test_shards_lead_where_whole_tensors_do(self):
        # Gram matrices, norms and distances are summed over shards, so coefficients and verdicts agree up to rounding.
        sharded, whole = self.found["fsdp sharded"][0], self.found["ddp whole"][0]
        self.assertEqual(verdicts(sharded[1]), verdicts(whole[1]))
        for a, b in zip(sharded[0], whole[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)

    def test_a_free_rate_goes_by_all_shards(self):
        def rates(name):
            return torch.tensor([[e["step"], e["to"], e["reach"], e["straightness"]] for e in self.found[name][0][1]
                                 if e["event"] == "rate" and "straightness" in e])

        self.check_same_on_both("fsdp free")
        self.check_same_on_both("ddp free")
        self.assertGreater(len(rates("ddp free")), 5)
        torch.testing.assert_close(rates("fsdp free"), rates("ddp free"), rtol=1e-2, atol=0.0)

    def test_ranks_look_and_go_back_together(self):
        start = [p.detach() for p in net().parameters()]
        for kind in ("ddp", "fsdp"):
            weights, events = self.check_same_on_both(f"{kind} auto")
            looks = [(e["step"], e["outcome"], e["best_step"]) for e in events if e["event"] == "look"]
            self.assertEqual(looks, [(4, "better", 0), (15, "better", 4), (34, "better", 15), (60, "better", 34)])
            self.assertTrue(equal(weights, self.found[f"{kind} free"][0][0]), "what is shown to be better leaves no trace")
            weights, events = self.check_same_on_both(f"{kind} auto worse")
            self.assertEqual([e["outcome"] for e in events if e["event"] == "look"], 4 * ["went_back"])
            self.assertTrue(equal(weights, start), "bitwise where it began")
            self.assertFalse([e for e in events if e["event"] == "failure"])


if __name__ == "__main__":
    unittest.main()

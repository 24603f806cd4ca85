"""Two and three processes over Gloo: DDP, and FSDP2 on local shards. Every rank comes to the same verdicts.

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
SHARDED = {**ACCEPTING, "predictor": "least_squares", "on_accept": "both", "reference": "denoised",
           "detector.signal": "delta_cosine", "trust_norm": 0.1, "trust_path": 0.5}


def net():
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(8, 33), nn.Tanh(), nn.Linear(33, 1), nn.Flatten(0))


def evaluator_of(model, noise=0.0, fails=False):
    x = inputs(999, 128)

    class Evaluator(leapverify.BatchEvaluator):
        evaluated = 0

        def evaluate(self, sequences, activations):
            self.evaluated += len(sequences)
            losses, vectors = super().evaluate(sequences, activations)
            if fails and dist.get_rank() == 1:
                raise RuntimeError("mine")
            return losses + noise * dist.get_rank(), vectors
    return Evaluator(model, [(x, target(x))], lambda m, b: squared(m(b[0]), b[1]), sequences_per_step=32)


def train(rank, kind, options, steps, noise=0.0, fails=False):
    model = net()
    if kind.startswith("fsdp"):
        # The last layer is the root's own, which stays whole after a forward pass.
        if kind == "fsdp":
            fully_shard(model[0])
        fully_shard(model)
    if kind == "fsdp stale":
        leapverify._access.ModelAccess.reshard = lambda _: None
    wrapped = DistributedDataParallel(model) if kind == "ddp" else model
    base = torch.optim.AdamW(model.parameters(), lr=3e-3)
    events = []
    optimizer = base
    if options is not None:
        gate = evaluator_of(wrapped, noise, fails)
        options = {**options, "probes": 0, "detector.signal": "delta_cosine"}
        optimizer = leapverify.LeapVerify(base, gate, trace=events.append, **options)
    for step in range(steps):
        x = inputs(step, 32)[rank * 16:][:16]
        optimizer.zero_grad()
        squared(wrapped(x), target(x)).mean().backward()
        optimizer.step()
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


def refusal():
    model = net()
    try:
        leapverify.LeapVerify(torch.optim.SGD(model.parameters(), lr=1.0), evaluator_of(model), gate="next_batch")
    except leapverify.InvalidOption as error:
        return str(error)
    return ""


def start(rank, port, out, jobs):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    torch.save([refusal(), *(train(rank, *job) for job in jobs)], f"{out}/{rank}.pt")
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


ASKED = ([4], [0, 1], [0, 1, 2, 3, 4], [7, 3, 5])


def agree(rank, port, out):
    """On three ranks: losses that tell the sequence and the rank, and vectors, some of them wrong on one rank."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=3)
    ranks = leapverify._ranks.Ranks()
    seen = []

    def compute(asked, width=2, given=True):
        seen.append(len(asked))
        losses = torch.tensor([float(sequence + 100 * rank) for sequence in asked])
        return losses, torch.stack([losses] * width, 1) if given else None

    def fail(asked):
        if rank == 1:
            raise RuntimeError("mine")
        return compute(asked)

    found = {"apart": [ranks.agree(compute, asked, True, False) for asked in ASKED], "counts": list(seen),
             "together": [ranks.agree(compute, asked, True, True) for asked in ASKED], "errors": []}
    for broken in (fail, lambda asked: compute(asked, width=rank + 1), lambda asked: compute(asked, given=rank != 2),
                   lambda asked: (torch.zeros(len(asked) + (rank == 0)), None)):
        try:
            ranks.agree(broken, ASKED[2], True, False)
            found["errors"].append("")
        except Exception as error:
            found["errors"].append(f"{type(error).__name__}: {error}")
    torch.save(found, f"{out}/{rank}.pt")
    dist.destroy_process_group()


def verdicts(events):
    return [(e["step"], e.get("horizon"), e.get("verdict"), e.get("outcome"), e.get("reason"))
            for e in events if e["event"] in ("candidate", "leap", "failure")]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class ThreeRanks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.found = on_ranks(3, agree)

    def test_each_runs_its_own_sequences_and_all_know_all(self):
        for found in self.found:
            for asked, (losses, vectors) in zip(ASKED, found["apart"], strict=True):
                expected = [sequence + 100 * (sequence % 3) for sequence in asked]
                self.assertEqual(losses.tolist(), expected)
                self.assertEqual(vectors.tolist(), [[value, value] for value in expected])
            for asked, (losses, vectors) in zip(ASKED, found["together"], strict=True):
                self.assertEqual(losses.tolist(), asked)
                self.assertEqual(vectors.tolist(), [[value, value] for value in asked])
        self.assertEqual([found["counts"] for found in self.found], [[1, 2, 1], [1, 1, 2, 1], [1, 1]])

    def test_what_is_wrong_on_one_rank_is_an_error_on_all(self):
        first, second, third = (found["errors"] for found in self.found)
        self.assertEqual([error[0] for error in (first, second, third)],
                         ["ContractError: the evaluator failed on 1 of 3 ranks", "RuntimeError: mine",
                          "ContractError: the evaluator failed on 1 of 3 ranks"])
        for errors in (first, second, third):
            self.assertIn("of different lengths", errors[1])
            self.assertTrue(all(errors))
        self.assertIn("one activation vector for each of 1", third[2])
        self.assertIn("one loss for each of 2", first[3])


class TwoRanks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        names = ["ddp bare", "ddp rejecting", "ddp accepting", "ddp noisy", "ddp failing", "fsdp bare", "fsdp rejecting",
                 "fsdp sharded", "fsdp failing", "ddp whole", "fsdp stale"]
        jobs = [("ddp", None, 60), ("ddp", REJECTING, 60), ("ddp", ACCEPTING, 60), ("ddp", EAGER, 60, 1e-3),
                ("ddp", EAGER, 60, 0.0, True), ("fsdp", None, 60), ("fsdp", REJECTING, 60), ("fsdp", SHARDED, 60),
                ("fsdp", EAGER, 60, 0.0, True), ("ddp", SHARDED, 60), ("fsdp stale", ACCEPTING, 20)]
        cls.found = dict(zip(["next batch", *names], on_two_ranks(*jobs), strict=True))

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

    def test_replicas_share_the_sequences_and_shards_run_all(self):
        for name, share in (("ddp accepting", 1 / WORLD), ("ddp rejecting", 1 / WORLD), ("fsdp rejecting", 1)):
            for _, _, status in self.found[name]:
                self.assertEqual(status["evaluated"], status["forwards"] * share, name)

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

    def test_next_batch_is_refused(self):
        self.assertIn("has a batch of its own", self.found["next batch"][0])

    def test_ranks_with_different_losses_decide_alike(self):
        _, events = self.check_same_on_both("ddp noisy")
        self.assertTrue([e for e in events if e["event"] == "candidate"])

    def test_a_rank_whose_evaluator_fails_ends_the_try_on_both(self):
        for kind in ("ddp", "fsdp"):
            (weights, first, _), (_, second, _) = self.found[f"{kind} failing"]
            self.assertEqual(len([e for e in first if e["event"] == "failure"]), 3)
            self.assertEqual([e["step"] for e in first if e["event"] == "failure"],
                             [e["step"] for e in second if e["event"] == "failure"])
            self.assertIn("1 of 2 ranks", [e for e in first if e["event"] == "failure"][0]["reason"])
            self.assertTrue(equal(weights, self.found[f"{kind} bare"][0][0]))

    def test_shards_lead_where_whole_tensors_do(self):
        # Gram matrices, norms and distances are summed over shards, so coefficients and verdicts agree up to rounding.
        sharded, whole = self.found["fsdp sharded"][0], self.found["ddp whole"][0]
        self.assertEqual(verdicts(sharded[1]), verdicts(whole[1]))
        for a, b in zip(sharded[0], whole[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    unittest.main()

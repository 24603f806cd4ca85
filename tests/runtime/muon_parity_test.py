"""Muon steps matrices as torch.optim.Muon does.

Usage: muon_parity_test.py PATH_OF_MUON_PROBE [unittest options]
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch
from safetensors.torch import load_file, save_file

PROBE = sys.argv.pop(1)
STEPS = 5


class Parity(unittest.TestCase):
    def test_weights_after_some_steps(self):
        torch.manual_seed(1)
        shapes = [(24, 16), (16, 24), (24, 16), (32, 32)]
        start = [torch.randn(shape) for shape in shapes]
        gradients = [[torch.randn(shape) for shape in shapes] for _ in range(STEPS)]
        tensors = {f"weight.{i}": weight for i, weight in enumerate(start)}
        for step, of_step in enumerate(gradients):
            tensors.update({f"gradient.{step}.{i}": gradient for i, gradient in enumerate(of_step)})
        for rate in ("original", "match_rms_adamw"):
            with self.subTest(rate), tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                save_file(tensors, folder / "in.safetensors")
                subprocess.run([PROBE, folder / "in.safetensors", folder / "out.safetensors", str(STEPS), "0.02",
                                "0.1", "0.9", rate], check=True)
                found = load_file(folder / "out.safetensors")
                weights = [torch.nn.Parameter(weight.clone()) for weight in start]
                optimizer = torch.optim.Muon(weights, lr=0.02, weight_decay=0.1, momentum=0.9, adjust_lr_fn=rate)
                for of_step in gradients:
                    for weight, gradient in zip(weights, of_step):
                        weight.grad = gradient.clone()
                    optimizer.step()
                for i, weight in enumerate(weights):
                    moved = (weight.detach() - start[i]).norm()
                    # Both round in bf16, which keeps 8 bits, in another order.
                    self.assertLess((found[f"weight.{i}"] - weight.detach()).norm() / moved, 0.02, i)


if __name__ == "__main__":
    unittest.main()

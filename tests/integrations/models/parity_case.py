"""What the parity tests share: tokens, weights that count, and how far two results may lie apart."""

import pathlib
import tempfile
import unittest

import torch
from safetensors.torch import save_file


def strengthen(parameters):
    """Fresh weights are so small that attention and MLPs hardly count, norms and biases so even that a swap of two would
    not show, and fresh adapters add nothing."""
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn_like(parameter), alpha=0.15)


def error(found, expected):
    """Largest error over largest value."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


class ParityCase(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        torch.manual_seed(5)
        torch.set_num_threads(1)
        self.tokens = torch.randint(160, (3, 30))
        save_file({"tokens": self.tokens}, self.folder / "tokens.safetensors")

    def compare(self, found, expected):
        self.assertEqual(sorted(found), sorted(expected))
        worst = max((error(found[name], expected[name]), name) for name in found if name.startswith("gradient."))
        print(f"{self.id().split('.')[-1]}: logits {error(found['logits'], expected['logits']):.1e}, "
              f"loss {error(found['loss'], expected['loss']):.1e}, gradients {worst[0]:.1e} ({worst[1]})")
        for name in expected:
            self.assertEqual(found[name].shape, expected[name].shape, name)
            self.assertLess(error(found[name], expected[name]), 1e-5 if name == "logits" else 1e-4, name)

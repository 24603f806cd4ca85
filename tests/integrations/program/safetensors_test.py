"""Tensors go between a checkpoint and Python's own safetensors, both ways.

Usage: safetensors_test.py PATH_OF_LEAPVERIFY [unittest options]
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import safetensors
import torch
from safetensors.torch import load_file

PROGRAM = sys.argv.pop(1)

CONFIG = """
run: {steps: 12, log_every: 2, checkpoint_every: 0, device: cpu, threads: 1, sample_bytes: 0,
      eval_sequences: 4}
data: {gate_share: 0.2, validation_share: 0.1}
model: {context: 16, width: 16, heads: 2, layers: 1}
batch: {sequences: 4}
schedule: {warmup: 2}
leapverify: {preset: verified, enabled: true, observe_every: 2, max_overhead: inf}
"""


def digest(data):
    """As runtime/checkpoint.h and kernels/checksum.h define it."""
    def mix(word):
        word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9 % 2**64
        word = (word ^ word >> 27) * 0x94d049bb133111eb % 2**64
        return word ^ word >> 31
    gamma = 0x9e3779b97f4a7c15
    total = mix((mix(gamma ^ len(data)) + 4) % 2**64)
    for index in range(0, len(data), 8):
        word = int.from_bytes(data[index:index + 8], "little")
        total += mix(word ^ (index // 8 + 1) * gamma % 2**64)
    return f"{total % 2**64:016x}"


def read(path):
    """Name, dtype, shape and bytes of each tensor of a file, by the format's description alone."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:begin]).items():
        first, last = entry["data_offsets"]
        yield name, entry["dtype"], entry["shape"], data[begin + first:begin + last]


def bytes_of(tensor):
    return bytes(tensor.contiguous().flatten().view(torch.uint8).tolist())


class Safetensors(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = pathlib.Path(temporary.name)
        text = folder / "text.txt"
        text.write_text("".join(f"line {i}: {i * i % 97} apples\n" for i in range(1000)))
        config = folder / "config.yaml"
        config.write_text(CONFIG)
        self.run_folder = folder / "run"
        self.leapverify("train", config, "--data", text, "--run", self.run_folder)

    def leapverify(self, *arguments):
        result = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                                timeout=200)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_python_reads_what_a_checkpoint_holds(self):
        sizes = {}
        dtypes = {"F32": torch.float32, "I64": torch.int64, "U8": torch.uint8}
        for path in (self.run_folder / "checkpoints" / "step-12").glob("*.safetensors"):
            tensors = load_file(path)
            sizes[path.stem] = sum(tensor.numel() for tensor in tensors.values())
            entries = list(read(path))
            self.assertEqual(set(tensors), {name for name, *_ in entries})
            with safetensors.safe_open(path, "pt") as opened:
                for name, dtype, shape, data in entries:
                    for tensor in (tensors[name], opened.get_tensor(name)):
                        self.assertEqual(tensor.dtype, dtypes[dtype], name)
                        self.assertEqual(list(tensor.shape), shape, name)
                        self.assertEqual(bytes_of(tensor), data, name)
        self.assertEqual(set(sizes), {"model", "optimizer", "leapverify", "random"})
        # AdamW's two moments of each weight, and its count of steps of each tensor.
        weights = load_file(self.run_folder / "checkpoints" / "step-12" / "model.safetensors")
        self.assertGreater(sizes["model"], 1000)
        self.assertGreaterEqual(sizes["optimizer"], 2 * sizes["model"])
        self.assertTrue(all(weight.isfinite().all() for weight in weights.values()))
        self.assertTrue(any(weight.std() > 1e-3 for weight in weights.values()))

    def test_a_run_goes_on_from_tensors_that_python_wrote(self):
        rewritten = self.run_folder.with_name("rewritten")
        shutil.copytree(self.run_folder, rewritten)
        checkpoint = rewritten / "checkpoints" / "step-12"
        for path in checkpoint.glob("*.safetensors"):
            self.rewrite(path)
        for run in (self.run_folder, rewritten):
            self.leapverify("resume", run, "--set", "run.steps=15")
        for name in ("model", "optimizer", "leapverify", "random"):
            file = pathlib.Path("checkpoints") / "step-15" / f"{name}.safetensors"
            self.assertEqual((self.run_folder / file).read_bytes(),
                             (rewritten / file).read_bytes(), name)

    def rewrite(self, path):
        """Has Python's safetensors write the file anew, with another header, and its digest."""
        ours = path.read_bytes()
        tensors = load_file(path)
        # By the function beneath save_file(), which needs numpy.
        safetensors.serialize_file({
            name: safetensors.TensorSpec(dtype=str(tensor.dtype).removeprefix("torch."),
                                         shape=tensor.shape, data_ptr=tensor.data_ptr(),
                                         data_len=tensor.nbytes)
            for name, tensor in tensors.items()}, path, {"written by": "Python"})
        theirs = path.read_bytes()
        self.assertNotEqual(ours, theirs)
        digests = path.with_name("digests")
        lines = digests.read_text()
        self.assertIn(f"{digest(ours)} {path.name}\n", lines)
        digests.write_text(lines.replace(digest(ours), digest(theirs)))


if __name__ == "__main__":
    unittest.main()

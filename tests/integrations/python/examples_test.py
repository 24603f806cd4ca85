"""The examples run, on a tiny model made here, and what they save can be loaded.

Usage: examples_test.py FOLDER_OF_EXAMPLES [unittest options], with the package on PYTHONPATH
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import tokenizers
import transformers
from toy import read_trace

EXAMPLES = pathlib.Path(sys.argv.pop(1))


def run(name, *arguments, cwd):
    done = subprocess.run([sys.executable, EXAMPLES / name, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Examples(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)

    def make_model(self):
        text = " ".join(f"{i} and {i + 1} make {2 * i + 1}." for i in range(6000))
        (self.path / "text.txt").write_text(text)
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="?"))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        tokenizer.train_from_iterator([text], tokenizers.trainers.BpeTrainer(vocab_size=200, special_tokens=["?"]))
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?").save_pretrained(
            self.path / "model")
        config = transformers.LlamaConfig(
            vocab_size=200, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=64)
        transformers.LlamaForCausalLM(config).save_pretrained(self.path / "model")

    def test_plain_loop(self):
        out = run("plain_loop.py", cwd=self.path).splitlines()
        self.assertEqual(len(out), 4)
        events = read_trace(self.path / "trace.jsonl")
        self.assertTrue([e for e in events if e["event"] == "rate"], "nothing verified though the rate is far too small")
        self.assertFalse([e for e in events if e["event"] == "failure"])

    def test_fine_tune(self):
        self.make_model()
        out = run("fine_tune.py", "model", "text.txt", "out", cwd=self.path)
        self.assertIn("validation loss", out)
        self.assertIn("'off_reason': ''", out)
        transformers.AutoModelForCausalLM.from_pretrained(self.path / "out")

    def test_lora(self):
        self.make_model()
        out = run("lora.py", "model", "text.txt", "out", cwd=self.path)
        self.assertIn("step  60", out)
        self.assertIn("'off_reason': ''", out)
        events = read_trace(self.path / "trace.jsonl")
        self.assertTrue([e for e in events if e["event"] == "candidate"])
        self.assertFalse([e for e in events if e["event"] == "failure"])
        base = transformers.AutoModelForCausalLM.from_pretrained(self.path / "model")
        peft.PeftModel.from_pretrained(base, self.path / "out")


if __name__ == "__main__":
    unittest.main()

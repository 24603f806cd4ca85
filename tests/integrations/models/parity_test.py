"""Models compute what transformers computes with the same files, and transformers reads what they save.

Usage: parity_test.py PATH_OF_PRETRAINED_PROBE [unittest options]
"""

import json
import os
import subprocess
import sys
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from parity_case import ParityCase, error, strengthen

PROBE = sys.argv.pop(1)
transformers.logging.disable_progress_bar()

GPT2 = dict(n_layer=2, n_embd=48, n_head=3, vocab_size=160, n_positions=32, bos_token_id=1, eos_token_id=2)
QWEN2 = dict(num_hidden_layers=2, hidden_size=64, num_attention_heads=4, num_key_value_heads=2,
             intermediate_size=96, vocab_size=160, max_position_embeddings=64, eos_token_id=[3, 4],
             rope_parameters={"rope_type": "default", "rope_theta": 1e6})


def gpt2(**settings):
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**GPT2, **settings}))


def qwen2(**settings):
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**{**QWEN2, **settings}))


def strengthened(model):
    strengthen(model.parameters())
    return model


class Parity(ParityCase):
    def probe(self, folder, *save_arguments):
        out = self.folder / "out.safetensors"
        out.unlink(missing_ok=True)
        result = subprocess.run([PROBE, folder, self.folder / "tokens.safetensors", out, *map(str, save_arguments)],
                                capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        return load_file(out)

    def expected(self, model):
        """What the probe should find, with the names in the files."""
        model = model.float().eval()
        model.zero_grad()
        output = model(self.tokens, labels=self.tokens)
        output.loss.backward()
        return {"logits": output.logits.detach(), "loss": output.loss.detach(),
                **{f"gradient.{name}": parameter.grad for name, parameter in model.named_parameters()}}

    def load_without_warnings(self, folder):
        """The model that transformers reads, every key of it from the files."""
        with self.assertNoLogs("transformers", "WARNING"):
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True)
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            self.assertFalse(info[kind], kind)
        return model

    def check(self, model, max_shard_bytes=2**40, **save_settings):
        """Ours against transformers on `model`'s files; then saved by ours, both on those."""
        original, saved = self.folder / "original", self.folder / "saved"
        model.save_pretrained(original, **save_settings)
        # Loaded, for the files may hold rounded weights.
        model = transformers.AutoModelForCausalLM.from_pretrained(original, dtype=torch.float32)
        expected = self.expected(model)
        found = self.probe(original, saved, max_shard_bytes)
        self.compare(found, expected)
        again = self.check_saved(saved)
        for (name, weight), (_, weight_again) in zip(model.named_parameters(), again.named_parameters()):
            self.assertTrue(torch.equal(weight, weight_again), name)
        self.assertEqual(self.comparable(again.config), self.comparable(model.config))
        return original, saved

    def check_saved(self, saved):
        """Ours against transformers on what ours saved; the model that transformers reads."""
        for path in saved.glob("*.safetensors"):
            with safe_open(path, "pt") as file:
                self.assertEqual(file.metadata(), {"format": "pt"}, "early versions need it")
        again = self.load_without_warnings(saved)
        self.compare(self.probe(saved), self.expected(again))
        return again

    def comparable(self, config):
        return {key: value for key, value in config.to_dict().items()
                if key not in ("_name_or_path", "dtype", "transformers_version", "n_inner")}

    def test_gpt2(self):
        self.check(strengthened(gpt2()))

    def test_gpt2_with_another_inner_size_and_epsilon(self):
        self.check(strengthened(gpt2(n_inner=80, layer_norm_epsilon=1e-2)))

    def test_gpt2_in_shards_of_bfloat16(self):
        original, saved = self.check(strengthened(gpt2()).bfloat16(), 70000, max_shard_size=30000)
        self.assertGreater(len(list(original.glob("*.safetensors"))), 3)
        sizes = [path.stat().st_size for path in saved.glob("*.safetensors")]
        self.assertGreater(len(sizes), 3)
        self.assertLess(max(sizes), 70000 + 3000)

    def test_gpt2_with_names_and_buffers_of_older_files(self):
        model = strengthened(gpt2())
        folder = self.folder / "older"
        model.save_pretrained(folder)
        older = {name.removeprefix("transformer."): weight
                 for name, weight in load_file(folder / "model.safetensors").items()}
        for layer in range(2):
            older[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 32, 32).tril()
            older[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        older["lm_head.weight"] = older["wte.weight"].clone()
        save_file(older, folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        for field in ("tie_word_embeddings", "scale_attn_weights", "n_inner", "add_cross_attention"):
            del config[field]
        (folder / "config.json").write_text(json.dumps(config))
        self.compare(self.probe(folder, self.folder / "saved", 2**40), self.expected(model))
        self.check_saved(self.folder / "saved")

    def test_qwen2_tied(self):
        self.check(strengthened(qwen2(tie_word_embeddings=True)))

    def test_qwen2_untied(self):
        self.check(strengthened(qwen2(tie_word_embeddings=False)))

    def test_qwen2_with_one_key_value_head(self):
        self.check(strengthened(qwen2(num_key_value_heads=1, rms_norm_eps=1e-2)))

    def test_qwen2_in_shards_of_bfloat16(self):
        original, saved = self.check(strengthened(qwen2()).bfloat16(), 60000, max_shard_size=30000)
        self.assertGreater(len(list(original.glob("*.safetensors"))), 3)
        self.assertGreater(len(list(saved.glob("*.safetensors"))), 3)

    def test_qwen2_with_the_config_of_version_4(self):
        model = strengthened(qwen2())
        folder = self.folder / "older"
        model.save_pretrained(folder)
        weights = load_file(folder / "model.safetensors")
        save_file({name.removeprefix("model."): weight for name, weight in weights.items()},
                  folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        config.update(rope_theta=config.pop("rope_parameters")["rope_theta"], torch_dtype=config.pop("dtype"),
                      rope_scaling=None, use_mrope=False, sliding_window=16, max_window_layers=1)
        del config["layer_types"]
        (folder / "config.json").write_text(json.dumps(config))
        self.compare(self.probe(folder, self.folder / "saved", 2**40), self.expected(model))
        self.check_saved(self.folder / "saved")

    def test_what_is_refused_gets_one_line(self):
        folder = self.folder / "model"
        qwen2(use_sliding_window=True, sliding_window=8, max_window_layers=1).save_pretrained(folder)
        result = subprocess.run([PROBE, folder, self.folder / "tokens.safetensors", self.folder / "out"],
                                capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr, f"error: {folder}/config.json: layer_types: \"sliding_attention\" is not "
                                        "supported, expected \"full_attention\" everywhere\n")


if __name__ == "__main__":
    unittest.main()

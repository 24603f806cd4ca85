"""Adapters compute what PEFT computes with the same files, and PEFT reads what is saved here.

Usage: lora_parity_test.py PATH_OF_LORA_PROBE [unittest options]
"""

import os
import subprocess
import sys
import unittest
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import transformers
from safetensors.torch import load_file

from parity_case import ParityCase, error, strengthen

PROBE = sys.argv.pop(1)
transformers.logging.disable_progress_bar()

GPT2_LAYERS = ["c_attn", "c_proj", "c_fc"]
QWEN2_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def gpt2():
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(
        n_layer=2, n_embd=48, n_head=3, vocab_size=160, n_positions=32, bos_token_id=1, eos_token_id=2))


def qwen2():
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
        num_hidden_layers=2, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
        vocab_size=160, max_position_embeddings=64, eos_token_id=[3, 4]))


class LoraParity(ParityCase):
    def path(self, name):
        return self.folder / name

    def save_base(self, model):
        strengthen(model.parameters())
        model.save_pretrained(self.path("base"))

    def base(self, folder="base"):
        return transformers.AutoModelForCausalLM.from_pretrained(self.path(folder), dtype=torch.float32).eval()

    def probe(self, task, *folders):
        return subprocess.run([PROBE, task, self.path("base"), self.path("tokens.safetensors"), self.path("out"),
                               *map(self.path, folders)], capture_output=True, text=True, timeout=120)

    def found(self, task, *folders):
        result = self.probe(task, *folders)
        self.assertEqual(result.returncode, 0, result.stderr)
        return load_file(self.path("out"))

    def with_adapters(self, folder):
        """PEFT's model, every adapter of it from the files."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return peft.PeftModel.from_pretrained(self.base(), self.path(folder), is_trainable=True).eval()

    def expected(self, model):
        """What the probe should find, with the names in the files."""
        output = model(self.tokens, labels=self.tokens)
        output.loss.backward()
        return {"logits": output.logits.detach(), "loss": output.loss.detach(),
                **{f"gradient.{name.replace('.default', '')}": parameter.grad
                   for name, parameter in model.named_parameters() if parameter.requires_grad}}

    def save_adapters(self, **settings):
        """Adapters that PEFT makes for the base model."""
        model = peft.get_peft_model(self.base(), peft.LoraConfig(r=4, task_type="CAUSAL_LM", **settings))
        strengthen(parameter for parameter in model.parameters() if parameter.requires_grad)
        model.save_pretrained(self.path("adapters"))

    def check(self, model, **settings):
        """Ours against PEFT on PEFT's adapters; then saved by ours, and merged by ours."""
        self.save_base(model)
        self.save_adapters(**settings)
        expected = self.expected(self.with_adapters("adapters"))
        plain = self.base()(self.tokens).logits
        self.assertGreater(error(plain, expected["logits"]), 0.01, "the adapters count")
        self.compare(self.found("load", "adapters", "saved", "merged"), expected)

        again = self.with_adapters("saved")
        self.assertTrue(torch.equal(again(self.tokens).logits, expected["logits"]))
        self.assertEqual(self.comparable("saved"), self.comparable("adapters"))
        self.assertLess(error(self.base("merged")(self.tokens).logits, expected["logits"]), 1e-5)

    def comparable(self, folder):
        config = peft.LoraConfig.from_pretrained(self.path(folder)).to_dict()
        # PEFT lets the layout of GPT-2's weights be wrong in the file, and mends it.
        del config["fan_in_fan_out"]
        return config

    def check_made(self, model):
        """PEFT on adapters that ours made from nothing and trained."""
        self.save_base(model)
        found = self.found("make", "made")
        expected = self.expected(self.with_adapters("made"))
        self.assertGreater(error(self.base()(self.tokens).logits, expected["logits"]), 0.01, "they are trained")
        self.compare(found, expected)

    def test_gpt2(self):
        self.check(gpt2(), target_modules=GPT2_LAYERS, lora_alpha=12, lora_dropout=0.2, fan_in_fan_out=True)

    def test_gpt2_with_some_layers(self):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")
            self.check(gpt2(), target_modules=["c_attn", "mlp.c_proj"])

    def test_qwen2(self):
        self.check(qwen2(), target_modules=QWEN2_LAYERS, lora_dropout=0.1)

    def test_qwen2_with_rank_stabilized_scale(self):
        self.check(qwen2(), target_modules=["q_proj", "v_proj"], use_rslora=True, init_lora_weights="gaussian")

    def test_gpt2_made_from_nothing(self):
        self.check_made(gpt2())

    def test_qwen2_made_from_nothing(self):
        self.check_made(qwen2())

    def test_what_is_refused_gets_one_line(self):
        self.save_base(qwen2())
        for settings, words in (
                ({"use_dora": True}, "use_dora: true is not supported, expected false"),
                ({"bias": "all"}, "bias: \"all\" is not supported, expected \"none\""),
                ({"rank_pattern": {"q_proj": 2}}, "rank_pattern: {\"q_proj\":2} is not supported, expected {}"),
                ({"layers_to_transform": [0]}, "layers_to_transform: [0] is not supported, expected null"),
                ({"modules_to_save": ["norm"]}, "modules_to_save: [\"norm\"] is not supported, expected null")):
            self.save_adapters(target_modules=["q_proj"], **settings)
            result = self.probe("load", "adapters", "saved", "merged")
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stderr, f"error: {self.path('adapters')}/adapter_config.json: {words}\n")


if __name__ == "__main__":
    unittest.main()

"""Training on tokens as a user does: prepared text, prepared examples, and files of llm.c and nanoGPT.

Usage: tokens_test.py PATH_OF_LEAPVERIFY PATH_OF_PREPARE_DATA [unittest options]
"""

import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import unittest

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

PREPARE = sys.argv.pop(2)
from program_test import CONFIG, ProgramTest, leapverify  # noqa: E402  takes the program's path itself

END = "<|endoftext|>"
VOCABULARY = 300


def llmc(tokens):
    return struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253) + nanogpt(tokens)


def nanogpt(tokens):
    return struct.pack(f"<{len(tokens)}H", *tokens)


class TokensTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.config.write_text(CONFIG.replace("model: {", f"model: {{vocabulary: {VOCABULARY}, "))
        self.documents = [f"line {i}: {i * i % 97} apples, {i % 7} pears\n" * 3 for i in range(300)]
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.train_from_iterator(self.documents, trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=[END], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        self.tokenizer = tokenizer
        tokenizer.save(str(self.folder / "tokenizer.json"))

    def prepare(self, source, *arguments):
        """Makes the prepared data what the runs train on."""
        self.text = self.folder / "prepared"
        command = [sys.executable, PREPARE, source, self.text, "--tokenizer", self.folder / "tokenizer.json", *arguments]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)

    def prepare_folder(self, *arguments):
        source = self.folder / "texts"
        source.mkdir()
        for i, text in enumerate(self.documents):
            (source / f"{i:03d}.txt").write_text(text)
        self.prepare(source, *arguments)

    def prepare_examples(self):
        source = self.folder / "examples.jsonl"
        # Prompts cannot be predicted: only a loss that does not count them falls near zero.
        source.write_text("".join(
            json.dumps({"prompt": f"{i * 7919 % 100003}", "completion": " apples"}) + "\n" for i in range(2000)))
        self.prepare(source)

    def plain_tokens(self):
        return [token for text in self.documents for token in
                [*self.tokenizer.encode(text).ids, self.tokenizer.token_to_id(END)]]

    def losses(self, run):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [line["train_loss"] for line in lines if "train_loss" in line], lines[-1]["validation_loss"]

    def assert_trains(self, run, *arguments):
        result = self.train(run, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        losses, validation = self.losses(run)
        self.assertGreater(losses[0], 5)
        self.assertLess(losses[-1], 4)
        self.assertLess(validation, 4)
        return result.stdout


class Training(TokensTest):
    def test_on_prepared_text(self):
        self.prepare_folder("--shard-tokens", "2000")
        said = self.assert_trains(self.folder / "run")
        self.assertIn(" tokens to train on, ", said)
        self.assertRegex(said, r"split by documents: \d+ to train on, \d+ gate, \d+ validation; vocabulary of 300, "
                               r"tokenizer sha256:[0-9a-f]{64}\n")

    def test_on_whole_documents(self):
        self.prepare_folder("--whole-documents")
        self.assert_trains(self.folder / "run")

    def test_on_files_of_llm_c_and_nanogpt(self):
        tokens = self.plain_tokens()
        end = f"data.document_end={self.tokenizer.token_to_id(END)}"
        self.text = self.folder / "llmc"
        self.text.mkdir()
        for i in range(3):
            (self.text / f"shard_{i}.bin").write_bytes(llmc(tokens[i * 2000:(i + 1) * 2000]))
        said = self.assert_trains(self.folder / "run 1", "--set", end)
        self.assertRegex(said, r"split by documents: .*; documents end with token \d+\n")
        self.text = self.folder / "nanogpt"
        self.text.mkdir()
        (self.text / "train.bin").write_bytes(nanogpt(tokens[:-1500]))
        (self.text / "val.bin").write_bytes(nanogpt(tokens[-1500:]))
        said = self.assert_trains(self.folder / "run 2")
        self.assertIn("split by ranges: token 50256 (data.document_end) does not occur; validation is the files of "
                      "that name\n", said)

    def test_prompts_and_filling_do_not_count(self):
        self.prepare_examples()
        run = self.folder / "run"
        self.assert_trains(run, "--set", "run.steps=150", "--set", "model.dropout=0")
        losses, validation = self.losses(run)
        self.assertLess(losses[-1], 0.1)
        self.assertLess(validation, 0.1)

    def test_tokens_of_another_tokenizer_than_the_models_are_said(self):
        self.prepare_folder()
        self.assert_trains(self.folder / "run")
        model = self.folder / "model"
        exported = leapverify("export", self.folder / "run", model)
        self.assertEqual(exported.returncode, 0, exported.stderr)
        own = json.loads((self.folder / "tokenizer.json").read_text())
        other = json.loads((self.folder / "tokenizer.json").read_text())
        words = list(other["model"]["vocab"])
        other["model"]["vocab"].update({words[5]: 6, words[6]: 5})
        self.config.write_text(CONFIG.replace("model: {", f"model: {{name: pretrained, folder: '{model}'}}\nunused: {{"))
        config = self.config.read_text()
        self.config.write_text(re.sub(r"unused: .*\n", "", config))
        for name, tokenizer, said in (("own", own, False), ("other", other, True)):
            (model / "tokenizer.json").write_text(json.dumps(tokenizer, indent=2))
            result = self.train(self.folder / name, "--set", "run.steps=10")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual("the tokens are not this model's" in result.stdout, said, name)

    def test_documents_left_out_are_said(self):
        source = self.folder / "examples.jsonl"
        long = {"prompt": "apples " * 40, "completion": "pears"}
        short = {"prompt": "2", "completion": "pears"}
        source.write_text("".join(json.dumps(long if i % 10 == 0 else short) + "\n" for i in range(400)))
        self.prepare(source)
        result = self.train(self.folder / "run")
        self.assertIn("left out     40 documents without a token that counts within batch.context\n", result.stdout)

    def test_what_the_model_writes_are_numbers_that_the_tokenizer_decodes(self):
        self.prepare_folder()
        said = self.assert_trains(self.folder / "run")
        numbers, = re.findall(r"the model writes:\n\(numbers of tokens\)((?: \d+){20})\n", said)
        decoder = Tokenizer.from_file(str(self.text / "tokenizer.json"))
        self.assertNotEqual(decoder.decode([int(number) for number in numbers.split()]), "")


class Resuming(TokensTest):
    def assert_bitwise_after_a_kill(self, *arguments):
        whole, killed = self.folder / "whole", self.folder / "killed"
        self.assertEqual(self.train(whole, *arguments).returncode, 0)
        resumed = self.kill_and_resume(killed, *arguments)
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertEqual(self.final_state(whole), self.final_state(killed))
        self.assertEqual((whole / "trace.jsonl").read_bytes(), (killed / "trace.jsonl").read_bytes())

    def test_on_prepared_text_is_bitwise_the_run(self):
        self.prepare_folder("--shard-tokens", "2000")
        self.assert_bitwise_after_a_kill()

    def test_on_examples_with_races_is_bitwise_the_run(self):
        self.prepare_examples()
        self.assert_bitwise_after_a_kill("--set", "leapverify.verification.when=raced", "--set",
                                         "leapverify.verification.settle_steps=3")

    def test_on_other_tokens_is_refused(self):
        self.prepare_folder()
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        path = self.text / "tokens_000000.bin"
        content = bytearray(path.read_bytes())
        content[2000] ^= 1
        path.write_bytes(content)
        self.assert_refused(leapverify("resume", run), "other text than the run began with")

    def test_on_other_prompts_is_refused(self):
        self.prepare_examples()
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        path = self.text / "documents.index"
        content = bytearray(path.read_bytes())
        content[8] -= 1
        path.write_bytes(content)
        self.assert_refused(leapverify("resume", run), "other text than the run began with")


class BadData(TokensTest):
    def test_a_vocabulary_larger_than_the_models(self):
        self.prepare_folder()
        self.assert_refused(self.train(self.folder / "run", "--set", "model.vocabulary=299"), "dataset.json",
                            "vocabulary of 300", "the model's, which is 299")

    def test_a_shard_that_lies_elsewhere(self):
        self.prepare_folder()
        shard = next(self.text.glob("*.bin"))
        dataset = self.text / "dataset.json"
        dataset.write_text(dataset.read_text().replace(shard.name, f"../{shard.name}"))
        shutil.move(shard, self.folder)
        self.assert_refused(self.train(self.folder / "run"), "dataset.json has the shard '../",
                            "the name of a file beside it")

    def test_a_token_outside_the_models_vocabulary(self):
        self.text = self.folder / "a.bin"
        self.text.write_bytes(llmc([5] * 4000 + [300] + [5] * 1000))
        self.assert_refused(self.train(self.folder / "run"), "a.bin has token 300 at position 4000", "300")

    def test_a_damaged_header(self):
        self.text = self.folder / "a.bin"
        self.text.write_bytes(llmc([5] * 4000)[:-1])
        self.assert_refused(self.train(self.folder / "run"), "a.bin has 9023 bytes")
        self.text.write_bytes(b"x" + llmc([5] * 4000))
        self.assert_refused(self.train(self.folder / "run", "--set", "data.format=llmc"), "a.bin begins with ")
        shutil.copy(self.text, self.folder / "train.bin")
        self.text = self.folder / "train.bin"
        self.assert_refused(self.train(self.folder / "run"), "9025 bytes, an odd number")


if __name__ == "__main__":
    unittest.main()

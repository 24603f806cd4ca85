"""scripts/prepare_data.py writes what llm.c and the trainer read, and refuses bad input in one line.

Usage: prepare_data_test.py PATH_OF_PREPARE_DATA [unittest options]
"""

import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SCRIPT = sys.argv.pop(1)
END = "<|endoftext|>"


def byte_level_tokenizer(texts, size=300, specials=(END,)):
    """A byte-level BPE trained on `texts`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(specials), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def read_shards(folder):
    """The tokens of all shards, as llm.c reads them: 256 int32 and uint16 or uint32."""
    tokens = []
    for path in sorted(folder.glob("*.bin")):
        content = path.read_bytes()
        magic, version, count = struct.unpack("<3i", content[:12])
        assert (magic, version) in ((20240520, 1), (20240801, 7)), (magic, version)
        assert not any(content[12:1024])
        code = "H" if version == 1 else "I"
        tokens.append(list(struct.unpack(f"<{count}{code}", content[1024:])))
    return tokens


class PrepareData(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="leapverify test ")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.texts = [f"apples {i} and {i * i} pears, été {i}\n" for i in range(30)]
        self.tokenizer = byte_level_tokenizer(self.texts)
        self.tokenizer_file = self.folder / "tokenizer.json"
        self.tokenizer.save(str(self.tokenizer_file))
        self.input = self.folder / "input"
        self.output = self.folder / "out"

    def write_folder(self):
        for i, text in enumerate(self.texts):
            path = self.input / f"part{i % 3}" / f"{i:02d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return [text for _, text in sorted(((i % 3, i), text) for i, text in enumerate(self.texts))]

    def write_jsonl(self, *records):
        self.input = self.folder / "input.jsonl"
        self.input.write_text("".join((record if isinstance(record, str) else json.dumps(record)) + "\n"
                                      for record in records))

    def run_script(self, *arguments, tokenizer=None):
        command = [sys.executable, SCRIPT, self.input, self.output, "--tokenizer",
                   tokenizer or self.tokenizer_file, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)

    def prepare(self, *arguments, **options):
        result = self.run_script(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def assert_refused(self, *words, arguments=(), **options):
        result = self.run_script(*arguments, **options)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        lines = result.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, result.stderr)
        for word in words:
            self.assertIn(str(word), lines[0])
        self.assertFalse(self.output.exists())
        self.assertEqual([path.name for path in self.folder.glob(".out-*")], [], "nothing half done stays")

    def dataset(self):
        return json.loads((self.output / "dataset.json").read_text())

    def index(self):
        content = (self.output / "documents.index").read_bytes()
        return list(struct.iter_unpack("<qq", content))

    def documents(self):
        """The tokens of each document, by the index."""
        tokens = sum(read_shards(self.output), [])
        begins = [begin for begin, _ in self.index()]
        return [tokens[begin:end] for begin, end in zip(begins, begins[1:] + [len(tokens)])]


class Text(PrepareData):
    def test_a_folder_becomes_one_document_a_file(self):
        texts = self.write_folder()
        (self.input / ".hidden").write_text("not read")
        (self.input / "junk.txt").write_bytes(b"\xff\xfe")
        said = self.prepare()
        self.assertIn("passed by: 1 files", said)
        end = self.tokenizer.token_to_id(END)
        self.assertEqual(self.documents(), [self.tokenizer.encode(text).ids + [end] for text in texts])
        self.assertEqual([self.tokenizer.decode(document[:-1]) for document in self.documents()], texts)
        dataset = self.dataset()
        self.assertEqual((dataset["document_end"], dataset["documents"]), (end, 30))
        self.assertFalse(dataset["whole_documents"])
        for begin, counted_from in self.index():
            self.assertEqual(begin, counted_from)

    def test_without_boundaries_documents_follow_each_other(self):
        texts = self.write_folder()
        self.prepare("--boundary", "none", "--whole-documents")
        self.assertEqual(self.documents(), [self.tokenizer.encode(text).ids for text in texts])
        self.assertIsNone(self.dataset()["document_end"])
        self.assertTrue(self.dataset()["whole_documents"])

    def test_only_the_extensions_asked_for_are_read(self):
        self.write_folder()
        (self.input / "a.md").write_text("only this")
        self.prepare("--extensions", ".md")
        self.assertEqual(len(self.documents()), 1)

    def test_shards_hold_what_they_say_and_documents_may_span_them(self):
        self.write_folder()
        self.prepare("--shard-tokens", "50")
        shards = read_shards(self.output)
        self.assertGreater(len(shards), 3)
        self.assertEqual({len(shard) for shard in shards[:-1]}, {50})
        self.assertEqual([len(shard) for shard in shards],
                         [shard["tokens"] for shard in self.dataset()["shards"]])
        self.assertEqual(len(self.documents()), 30)

    def test_the_vocabulary_and_the_tokenizer_are_recorded(self):
        self.write_folder()
        self.prepare()
        saved = (self.output / "tokenizer.json").read_bytes()
        self.assertEqual(self.dataset()["tokenizer"], "sha256:" + hashlib.sha256(saved).hexdigest())
        self.assertEqual(self.dataset()["vocabulary"], 300)
        self.assertEqual(Tokenizer.from_str(saved.decode()).encode("apples").ids,
                         self.tokenizer.encode("apples").ids)

    def test_large_vocabularies_have_tokens_of_32_bits(self):
        self.input.write_text("a")
        tokenizer = Tokenizer(models.WordLevel({"a": 70000, "[UNK]": 0, END: 1}, unk_token="[UNK]"))
        tokenizer.save(str(self.tokenizer_file))
        self.prepare()
        self.assertEqual(read_shards(self.output), [[70000, 1]])
        self.assertEqual(self.dataset()["vocabulary"], 70001)

    def test_a_vocabulary_with_merges_is_read_too(self):
        vocabulary, merges = self.tokenizer.model.save(str(self.folder))
        self.input.write_text(self.texts[3])
        self.prepare("--merges", merges, tokenizer=vocabulary)
        self.assertEqual(self.documents(), [self.tokenizer.encode(self.texts[3]).ids
                                            + [self.tokenizer.token_to_id(END)]])

    def test_text_that_spells_the_end_of_text_is_text(self):
        self.input.write_text(f"one {END} two")
        self.prepare()
        document, = self.documents()
        self.assertEqual(document.count(self.tokenizer.token_to_id(END)), 1)
        self.assertEqual(self.tokenizer.decode(document[:-1], skip_special_tokens=False), f"one {END} two")


class Examples(PrepareData):
    def test_prompts_do_not_count(self):
        self.write_jsonl({"prompt": "2 + 2 = ", "completion": "apples"}, "",
                         {"prompt": "", "completion": "pears, 1"})
        self.prepare()
        ids = lambda text: self.tokenizer.encode(text).ids
        end = [self.tokenizer.token_to_id(END)]
        first, second = ids("2 + 2 = ") + ids("apples") + end, ids("pears, 1") + end
        self.assertEqual(self.documents(), [first, second])
        self.assertEqual(self.index(), [(0, len(ids("2 + 2 = "))), (len(first), len(first))])
        self.assertTrue(self.dataset()["whole_documents"])

    def test_lines_without_the_fields_are_named(self):
        good = {"prompt": "a", "completion": "b"}
        for bad, word in (({"prompt": "a"}, '"completion"'), ({"completion": "b"}, '"prompt"'),
                          ({"prompt": 3, "completion": "b"}, '"prompt"'), ([], '"prompt"'),
                          ({"prompt": "a", "completion": "\ud800"}, '"completion"'),
                          ({"prompt": "a", "completion": ""}, "completion is empty"),
                          ("{", "not JSON")):
            self.write_jsonl(good, "", bad)
            self.assert_refused("input.jsonl:3:", word)

    def test_texts_of_one_token_and_links_to_others_are_passed_by(self):
        self.input.mkdir()
        (self.input / "long.txt").write_text("a b c d")
        (self.input / "short.txt").write_text("a")
        (self.input / "same.txt").symlink_to(self.input / "long.txt")
        output = self.prepare("--boundary", "none")
        self.assertIn("passed by: 1 documents of no more than one token", output)
        self.assertEqual(self.dataset()["documents"], 1)

    def test_examples_of_which_nothing_counts_are_refused(self):
        self.write_jsonl({"prompt": "", "completion": "a"})
        self.assert_refused("input.jsonl:1:", "none would count", arguments=["--boundary", "none"])


class BadInput(PrepareData):
    def test_files_that_do_not_exist(self):
        self.assert_refused(f"{self.input}: does not exist")
        self.input.write_text("text")
        self.assert_refused("none.json: no such file, expected tokenizer.json", tokenizer=self.folder / "none.json")
        self.assert_refused("none.txt: no such file, expected merges.txt",
                            arguments=["--merges", self.folder / "none.txt"])

    def test_empty_input(self):
        self.input.write_text("")
        self.assert_refused("is empty")
        self.write_jsonl()
        self.assert_refused("is empty")
        self.input = self.folder / "empty"
        self.input.mkdir()
        self.assert_refused("is empty")

    def test_input_that_is_no_text(self):
        self.input.write_bytes(b"abc\xff")
        self.assert_refused("invalid UTF-8 at offset 3")
        self.input.write_bytes(b"abc\0")
        self.assert_refused("NUL byte at character 3")

    def test_a_file_that_is_no_tokenizer(self):
        self.input.write_text("text")
        vocabulary, _ = self.tokenizer.model.save(str(self.folder))
        self.assert_refused("not a tokenizer", "--merges", tokenizer=vocabulary)

    def test_an_end_of_text_that_the_tokenizer_does_not_have(self):
        self.input.write_text("text")
        self.assert_refused("no token '<end>'", "--end-of-text", "--boundary none",
                            arguments=["--end-of-text", "<end>"])

    def test_text_that_the_tokenizer_does_not_know(self):
        tokenizer = Tokenizer(models.WordLevel({"a": 2, "[UNK]": 0, END: 1}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(self.tokenizer_file))
        self.input.write_text("a a bird a")
        self.assert_refused(f"{self.input}: the tokenizer has no token for 'bird'")
        self.write_jsonl({"prompt": "a a", "completion": "a"}, {"prompt": "a", "completion": "a cat"})
        self.assert_refused("input.jsonl:2: the tokenizer has no token for 'cat'")

    def test_a_folder_that_exists_is_left_alone(self):
        self.input.write_text("text")
        self.output.mkdir()
        (self.output / "thesis.txt").write_text("years of work")
        result = self.run_script()
        self.assertEqual(result.returncode, 1)
        self.assertIn("exists already", result.stderr)
        self.assertEqual([path.name for path in self.output.iterdir()], ["thesis.txt"])


if __name__ == "__main__":
    unittest.main()

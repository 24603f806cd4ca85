#!/usr/bin/env python3
"""Turns text into the tokens that the trainer reads (data.path); docs/data.md describes the files.

INPUT is a text file, a folder of text files, each of which is a document, or a .jsonl file of examples with the fields
"prompt" and "completion", of which the prompts never count in the loss. The tokenizer is Hugging Face's, from local
files: tokenizer.json, or a byte-level vocab.json and merges.txt.
"""

import argparse
import array
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

MAGIC_AND_VERSION = {2: (20240520, 1), 4: (20240801, 7)}  # by bytes of a token, as llm.c has them
BATCH_CHARACTERS = 1 << 22  # of text that is tokenized at a time


class BadInput(Exception):
    """One line that says what cannot be used, and what can."""


class Example:
    """One document before and after it is tokenized."""

    def __init__(self, place, prompt, completion, is_text=False):
        self.place, self.prompt, self.completion, self.is_text = place, prompt, completion, is_text

    def characters(self):
        return len(self.prompt) + len(self.completion)


# --- Reading


def read_text(path):
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: invalid UTF-8 at offset {error.start}, expected text") from None
    if "\0" in text:
        raise BadInput(f"{path}: NUL byte at character {text.index(chr(0))}, expected text")
    return text


def is_text(value):
    """JSON can spell halves of characters, which no tokenizer takes."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def examples_of_jsonl(path):
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise BadInput(f"{place}: not JSON: {error}") from None
        for field in ("prompt", "completion"):
            if not isinstance(record, dict) or not is_text(record.get(field)):
                raise BadInput(f'{place}: no text in the field "{field}", expected '
                               '{"prompt": "...", "completion": "..."}')
        if not record["completion"]:
            raise BadInput(f"{place}: the completion is empty, nothing would count in the loss")
        yield Example(place, record["prompt"], record["completion"])


# As the trainer's data.exclude.
EXCLUDED = {"__pycache__", "site-packages", "dist-packages", "node_modules"}


def files_below(folder, extensions):
    """Each once, however many links lead to it."""
    seen = set()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        left_out = any(part.startswith(".") or part in EXCLUDED for part in parts)
        left_out = left_out or path.resolve() in seen
        seen.add(path.resolve())
        if not left_out and path.is_file() and (not extensions or path.suffix in extensions):
            yield path


def examples_of_folder(folder, extensions):
    passed_by = 0
    for path in files_below(folder, extensions):
        try:
            text = read_text(path)
        except BadInput:
            passed_by += 1
            continue
        if text:
            yield Example(str(path), "", text, is_text=True)
    if passed_by:
        print(f"passed by: {passed_by} files that are no text or cannot be read")


def examples_of(source, extensions):
    if source.is_dir():
        return examples_of_folder(source, extensions)
    if not source.exists():
        raise BadInput(f"{source}: does not exist, expected a text file, a folder or a .jsonl file")
    if source.suffix == ".jsonl":
        return examples_of_jsonl(source)
    return iter([Example(str(source), "", text, is_text=True)] if (text := read_text(source)) else [])


def characters_in(source, extensions):
    """About how much there is to do, for the progress bar."""
    files = files_below(source, extensions) if source.is_dir() else [source]
    return max(1, sum(path.stat().st_size for path in files))


# --- Tokenizing


def load_tokenizer(path, merges):
    for file in filter(None, (path, merges)):
        if not file.is_file():
            raise BadInput(f"{file}: no such file, expected "
                           + ("merges.txt" if file is merges else "tokenizer.json or vocab.json"))
    try:
        if merges is None:
            tokenizer = Tokenizer.from_file(str(path))
        else:
            tokenizer = Tokenizer(models.BPE.from_file(str(path), str(merges)))
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
    except Exception as error:  # the library raises nothing more special
        hint = "" if merges else "; a vocab.json needs --merges merges.txt"
        raise BadInput(f"{path}: not a tokenizer: {(str(error).splitlines() or [type(error).__name__])[0]}{hint}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # Text that happens to spell a special token is no special token.
    tokenizer.encode_special_tokens = True
    return tokenizer


def vocabulary_of(tokenizer):
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def document_end_of(tokenizer, arguments):
    if arguments.boundary == "none":
        return None
    token = tokenizer.token_to_id(arguments.end_of_text)
    if token is None:
        raise BadInput(f"{arguments.tokenizer}: no token '{arguments.end_of_text}', expected the tokenizer's own with "
                       "--end-of-text TOKEN, or --boundary none")
    return token


def unknown_token_of(tokenizer):
    name = getattr(tokenizer.model, "unk_token", None)
    if name is None:
        return json.loads(tokenizer.to_str())["model"].get("unk_id")
    return tokenizer.token_to_id(name)


def encode(tokenizer, texts):
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def refuse_unknown(tokenizer, example, unknown):
    for part in (example.prompt, example.completion):
        encoding = tokenizer.encode(part, add_special_tokens=False)
        if unknown in encoding.ids:
            begin, end = encoding.offsets[encoding.ids.index(unknown)]
            raise BadInput(f"{example.place}: the tokenizer has no token for {part[begin:end]!r}")


def batches_of(examples):
    batch, characters = [], 0
    for example in examples:
        batch.append(example)
        characters += example.characters()
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def tokenized(tokenizer, examples, document_end):
    """Yields (example, tokens, number of those of the prompt)."""
    end = [] if document_end is None else [document_end]
    too_short = 0
    unknown = unknown_token_of(tokenizer)
    for batch in batches_of(examples):
        prompts = encode(tokenizer, [example.prompt for example in batch])
        completions = encode(tokenizer, [example.completion for example in batch])
        for example, prompt, completion in zip(batch, prompts, completions):
            if unknown is not None and unknown in prompt + completion:
                refuse_unknown(tokenizer, example, unknown)
            tokens = prompt + completion + end
            # The first token of a sequence is no target.
            if len(tokens) > max(len(prompt), 1):
                yield example, tokens, len(prompt)
            elif example.is_text:
                too_short += 1
            else:
                raise BadInput(f"{example.place}: {len(tokens)} tokens, of which none would count in the loss")
    if too_short:
        print(f"passed by: {too_short} documents of no more than one token")


# --- Writing


def packed(code, values):
    numbers = array.array(code, values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


class Shards:
    """Token files of llm.c's format, each of `size` tokens but the last."""

    def __init__(self, folder, width, size):
        self.folder, self.size = folder, size
        self.width, self.code = width, {2: "H", 4: "I"}[width]
        self.pending = array.array(self.code)
        self.written = []

    def add(self, tokens):
        self.pending.extend(tokens)
        while len(self.pending) >= self.size:
            self.write(self.pending[:self.size])
            self.pending = self.pending[self.size:]

    def finish(self):
        if self.pending:
            self.write(self.pending)
        return self.written

    def write(self, tokens):
        name = f"tokens_{len(self.written):06d}.bin"
        header = [*MAGIC_AND_VERSION[self.width], len(tokens)]
        with open(self.folder / name, "wb") as file:
            file.write(packed("i", header + [0] * (256 - len(header))))
            file.write(packed(self.code, tokens))
        self.written.append({"file": name, "tokens": len(tokens)})


class Progress:
    """A bar on a terminal; elsewhere nothing."""

    def __init__(self, total):
        self.total, self.done, self.shown = total, 0, -1

    def advance(self, amount):
        self.done = min(self.total, self.done + amount)
        percent = 100 * self.done // self.total
        if sys.stdout.isatty() and percent != self.shown:
            self.shown = percent
            print(f"\r[{'=' * (percent // 4):25}] {percent} % tokenized", end="", flush=True)

    def finish(self):
        self.advance(self.total)
        if self.shown >= 0:
            print()


def write_data(folder, arguments, tokenizer, document_end):
    """Writes all files; returns what dataset.json holds."""
    vocabulary = vocabulary_of(tokenizer)
    shards = Shards(folder, 2 if vocabulary <= 1 << 16 else 4, arguments.shard_tokens)
    progress = Progress(characters_in(arguments.input, arguments.extensions))
    begin = 0
    documents = 0
    with open(folder / "documents.index", "wb") as index:
        examples = examples_of(arguments.input, arguments.extensions)
        for example, tokens, prompt in tokenized(tokenizer, examples, document_end):
            index.write(packed("q", [begin, begin + prompt]))
            shards.add(tokens)
            begin += len(tokens)
            documents += 1
            progress.advance(example.characters())
    progress.finish()
    if documents == 0:
        raise BadInput(f"{arguments.input}: is empty, expected at least one document")
    text = tokenizer.to_str()
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    return {
        "version": 1,
        "vocabulary": vocabulary,
        "tokenizer": "sha256:" + hashlib.sha256(text.encode("utf-8")).hexdigest(),
        "document_end": document_end,
        "whole_documents": arguments.whole_documents or arguments.input.suffix == ".jsonl",
        "documents": documents,
        "shards": shards.finish(),
    }


def prepare(arguments):
    if arguments.output.exists():
        raise BadInput(f"{arguments.output}: exists already, expected a new folder")
    tokenizer = load_tokenizer(arguments.tokenizer, arguments.merges)
    document_end = document_end_of(tokenizer, arguments)
    if not arguments.input.exists():
        raise BadInput(f"{arguments.input}: does not exist, expected a text file, a folder or a .jsonl file")
    # Under its own name only once it is complete.
    try:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f".{arguments.output.name}-", dir=arguments.output.parent))
    except OSError as error:
        raise BadInput(f"{arguments.output}: cannot be created: {error.strerror}") from None
    try:
        dataset = write_data(folder, arguments, tokenizer, document_end)
        (folder / "dataset.json").write_text(json.dumps(dataset, indent=1) + "\n")
        folder.chmod(0o755)
        os.rename(folder, arguments.output)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    tokens = sum(shard["tokens"] for shard in dataset["shards"])
    print(f"{arguments.output}: {dataset['documents']} documents, {tokens} tokens of a vocabulary of "
          f"{dataset['vocabulary']} (a model needs as much), {len(dataset['shards'])} shards")


def positive(text):
    number = int(text)
    # A shard's header holds it in 32 bits.
    if not 1 <= number < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text} is not legal, expected a number from 1 to 2147483647")
    return number


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=pathlib.Path, metavar="INPUT")
    parser.add_argument("output", type=pathlib.Path, metavar="FOLDER", help="a new folder")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, metavar="FILE",
                        help="tokenizer.json, or vocab.json with --merges")
    parser.add_argument("--merges", type=pathlib.Path, metavar="FILE", help="merges.txt beside a vocab.json")
    parser.add_argument("--extensions", nargs="+", default=[], metavar=".EXT",
                        help="of a folder, endings of the files to read; default: all text")
    parser.add_argument("--boundary", choices=("eot", "none"), default="eot",
                        help="eot: each document is followed by the end-of-text token; none: by nothing")
    parser.add_argument("--end-of-text", default="<|endoftext|>", metavar="TOKEN", help="default: %(default)s")
    parser.add_argument("--whole-documents", action="store_true",
                        help="a training sequence never spans documents, and is filled up; always so for .jsonl")
    parser.add_argument("--shard-tokens", type=positive, default=100_000_000, metavar="N",
                        help="tokens of a file, default: %(default)s")
    return parser.parse_args()


def main():
    try:
        prepare(parse())
    except BadInput as error:
        sys.exit(f"prepare_data.py: {error}")
    except OSError as error:
        sys.exit(f"prepare_data.py: {error.filename or 'writing failed'}: {error.strerror}")


if __name__ == "__main__":
    main()

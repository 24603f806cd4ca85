"""Fine-tunes the adapters of a causal language model in a plain loop; tries are made on the batch about to be trained on.

Usage: lora.py MODEL_FOLDER TEXT_FILE OUTPUT_FOLDER [--steps 60] [--context 64]

MODEL_FOLDER is what save_pretrained() writes, the tokenizer with it. OUTPUT_FOLDER gets the adapters.
"""

import argparse
import pathlib

import peft
import torch
import transformers

import leapverify
from leapverify.transformers import HuggingFaceEvaluator, sequence_losses

BATCH = 32  # a try on a batch of less than some 14 sequences decides nothing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("output")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--context", type=int, default=64)
    arguments = parser.parse_args()

    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    tokens = torch.tensor(tokenizer(arguments.text.read_text())["input_ids"])
    rows = tokens[: len(tokens) // arguments.context * arguments.context].view(-1, arguments.context)
    gate, train = rows[: len(rows) // 5], rows[len(rows) // 5 :]

    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model)
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear"))
    base = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    evaluator = HuggingFaceEvaluator(
        model, [{"input_ids": row, "labels": row} for row in gate], sequences_per_step=BATCH)
    optimizer = leapverify.LeapVerify(
        base, evaluator, planned_steps=arguments.steps, gate="next_batch", max_overhead=0.05,
        trace="trace.jsonl")

    epochs = 1 + arguments.steps * BATCH // len(train)
    order = torch.cat([torch.randperm(len(train)) for _ in range(epochs)])
    model.train()
    for step in range(arguments.steps):
        batch = train[order[step * BATCH :][:BATCH]]
        closure = leapverify.TrainingBatch(
            BATCH,
            losses=lambda: sequence_losses(model, {"input_ids": batch, "labels": batch}),
            zero_grad=optimizer.zero_grad,
            seen=(step + 1) * BATCH > len(train))  # after the first epoch a batch is not held out any more
        loss = optimizer.step(closure)
        if (step + 1) % 20 == 0:
            print(f"step {step + 1:3d}  loss {loss.item():.3f}  {optimizer.status()}")
    model.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()

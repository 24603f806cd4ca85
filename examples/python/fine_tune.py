"""Fine-tunes a causal language model with Hugging Face's Trainer, its optimizer wrapped.

Usage: fine_tune.py MODEL_FOLDER TEXT_FILE OUTPUT_FOLDER [--steps 60] [--context 64]

MODEL_FOLDER is what save_pretrained() writes, the tokenizer with it.
"""

import argparse
import pathlib

import torch
import transformers

from leapverify.transformers import LeapVerifyTrainer


def sequences(tokenizer, text, length):
    tokens = torch.tensor(tokenizer(text)["input_ids"])
    rows = tokens[: len(tokens) // length * length].view(-1, length)
    return [{"input_ids": row, "labels": row} for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("output")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--context", type=int, default=64)
    arguments = parser.parse_args()

    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model)
    rows = sequences(tokenizer, arguments.text.read_text(), arguments.context)
    held_out = len(rows) // 5
    gate, validation, train = rows[:held_out], rows[held_out : 2 * held_out], rows[2 * held_out :]
    trainer = LeapVerifyTrainer(
        model=model,
        args=transformers.TrainingArguments(
            arguments.output, max_steps=arguments.steps, per_device_train_batch_size=8, learning_rate=2e-5,
            logging_steps=20, report_to="none", save_strategy="no"),
        train_dataset=train,
        eval_dataset=validation,
        gate_dataset=gate,  # carved from the training data; decides, and is never trained on
        leapverify={"max_overhead": 0.05},
    )
    trainer.train()
    print(f"validation loss {trainer.evaluate()['eval_loss']:.3f}")
    print(trainer.optimizer.optimizer.status())
    trainer.save_model(arguments.output)


if __name__ == "__main__":
    main()

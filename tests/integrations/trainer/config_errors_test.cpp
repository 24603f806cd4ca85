#include <gmock/gmock.h>
#include <leapverify/integrations/trainer/config.h>

#include "integrations/temporary_folder.h"

namespace leapverify::trainer {
namespace {

class ConfigErrorsTest : public testing::TemporaryFolder {
 protected:
  /// The message of the ConfigError that a file leads to, with its path as "FILE".
  std::string error_of(const std::string& yaml,
                       const std::vector<std::string>& overrides = {}) const {
    const std::string file = write("config.yaml", yaml);
    std::string message = message_of([&] { load_config("", file, overrides); });
    for (std::size_t at; (at = message.find(file)) != std::string::npos;) {
      message.replace(at, file.size(), "FILE");
    }
    return message;
  }

  static std::string override_error(const std::string& text) {
    return message_of([&] { load_config("", "", {text}); });
  }

  template <class Call>
  static std::string message_of(Call call) {
    try {
      call();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }
};

TEST_F(ConfigErrorsTest, ANumberOutOfRange) {
  EXPECT_EQ(error_of("run: {steps: 200}\noptimizer:\n  lr: -1\n"),
            "FILE:3: optimizer.lr: -1 is not legal, expected a number > 0");
  EXPECT_EQ(error_of("optimizer: {lr: inf}"),
            "FILE:1: optimizer.lr: inf is not legal, expected a number > 0");
  EXPECT_EQ(error_of("optimizer: {lr: nan}"),
            "FILE:1: optimizer.lr: nan is not legal, expected a number > 0");
  EXPECT_EQ(error_of("optimizer: {lr: 1e999}"),
            "FILE:1: optimizer.lr: 1e999 is not legal, expected a number > 0");
  EXPECT_EQ(error_of("run: {steps: 0}"),
            "FILE:1: run.steps: 0 is not legal, expected an integer ≥ 1");
  EXPECT_EQ(error_of("data: {document_end: -2}"),
            "FILE:1: data.document_end: -2 is not legal, expected an integer ≥ -1");
  EXPECT_EQ(error_of("model: {dropout: 1}"),
            "FILE:1: model.dropout: 1 is not legal, expected a number in [0, 1)");
  EXPECT_EQ(error_of("run: {steps: 99999999999999999999}"),
            "FILE:1: run.steps: 99999999999999999999 is not legal, expected an integer ≥ 1");
}

TEST_F(ConfigErrorsTest, AValueOfTheWrongType) {
  EXPECT_EQ(error_of("optimizer: {lr: 3x}"),
            "FILE:1: optimizer.lr: 3x is not legal, expected a number > 0");
  EXPECT_EQ(error_of("optimizer: {lr: [1]}"),
            "FILE:1: optimizer.lr: [1] is not legal, expected a number > 0");
  EXPECT_EQ(error_of("optimizer: {lr: }"),
            "FILE:1: optimizer.lr: an empty value is not legal, expected a number > 0");
  EXPECT_EQ(error_of("optimizer: {lr: {a: 1}}"),
            "FILE:1: optimizer.lr: a group of keys is not legal, expected a number > 0");
  EXPECT_EQ(error_of("run: {steps: 1e3}"),
            "FILE:1: run.steps: 1e3 is not legal, expected an integer ≥ 1");
  EXPECT_EQ(error_of("run: {steps: 1.0}"),
            "FILE:1: run.steps: 1.0 is not legal, expected an integer ≥ 1");
  EXPECT_EQ(error_of("leapverify: {enabled: yes}"),
            "FILE:1: leapverify.enabled: yes is not legal, expected true or false");
  EXPECT_EQ(error_of("run: {folder: [a]}"),
            "FILE:1: run.folder: [a] is not legal, expected a text");
  EXPECT_EQ(error_of("run: {folder: }"),
            "FILE:1: run.folder: an empty value is not legal, expected a text");
  EXPECT_EQ(error_of("optimizer: {name: adam}"),
            "FILE:1: optimizer.name: adam is not legal, expected adamw, muon or sgd");
  EXPECT_EQ(error_of("data: {format: txt}"),
            "FILE:1: data.format: txt is not legal, expected auto, bytes, llmc or nanogpt");
  EXPECT_EQ(
      error_of("schedule: {kind: [cosine]}"),
      "FILE:1: schedule.kind: [cosine] is not legal, expected constant, linear, cosine or wsd");
  EXPECT_EQ(error_of("data: {extensions: .py}"),
            "FILE:1: data.extensions: .py is not legal, expected a list of texts");
  EXPECT_EQ(error_of("data: {extensions: [.py, [.md]]}"),
            "FILE:1: data.extensions: [.py, ...] is not legal, expected a list of texts");
  EXPECT_EQ(error_of("leapverify: {horizons: [5, 0]}"),
            "FILE:1: leapverify.horizons: [5, 0] is not legal, expected a list, each an integer ≥ "
            "1");
}

TEST_F(ConfigErrorsTest, ALongTextStaysOnOneLine) {
  EXPECT_EQ(error_of("optimizer:\n  lr: |\n    a\n    b\n"),
            "FILE:2: optimizer.lr: a b  is not legal, expected a number > 0");
}

TEST_F(ConfigErrorsTest, AnUnknownKey) {
  EXPECT_EQ(error_of("run:\n  steps: 200\noptimizer: {learning_rate: 1, beta: 0.9}"),
            "FILE:3: optimizer.learning_rate: unknown key, explain-config lists them all");
  EXPECT_EQ(error_of("optimizer: {beta: 0.9}"),
            "FILE:1: optimizer.beta: unknown key, did you mean optimizer.beta1?");
  EXPECT_EQ(error_of("lr: 0.1"), "FILE:1: lr: unknown key, did you mean optimizer.lr?");
  EXPECT_EQ(error_of("leapverify: {rule: strict}"),
            "FILE:1: leapverify.rule: unknown key, did you mean leapverify.verification.rule?");
  EXPECT_EQ(error_of("leapverify: {planned_steps: 100}"),
            "FILE:1: leapverify.planned_steps: unknown key, explain-config lists them all");
  EXPECT_EQ(error_of("optimizer: {<<: {lr: 1}}"),
            "FILE:1: optimizer.<<: unknown key, explain-config lists them all");
}

TEST_F(ConfigErrorsTest, AKeyGivenTwice) {
  EXPECT_EQ(error_of("optimizer:\n  lr: 1\n  beta1: 0.5\n  lr: 2\n"),
            "FILE:4: optimizer.lr: given twice, first at FILE:2");
  EXPECT_EQ(error_of("run: {steps: 200}\nbatch: {sequences: 2}\nrun: {seed: 1}\n"),
            "FILE:3: run: given twice, first at FILE:1");
  EXPECT_EQ(error_of("optimizer: {lr: 1}\noptimizer.lr: 2\n"),
            "FILE:2: optimizer.lr: given twice, first at FILE:1");
  EXPECT_EQ(message_of([] {
              load_config("", "", {"run.seed=1", "run.seed=2"});
            }),
            "--set run.seed=2: run.seed: given twice, first at --set run.seed=1");
}

TEST_F(ConfigErrorsTest, AGroupWithAValue) {
  EXPECT_EQ(error_of("optimizer: adamw"),
            "FILE:1: optimizer: is a group, expected keys below it, as in optimizer.name");
  EXPECT_EQ(error_of("leapverify: {detector: [1]}"),
            "FILE:1: leapverify.detector: is a group, expected keys below it, as in "
            "leapverify.detector.signal");
}

TEST_F(ConfigErrorsTest, AValueForAGroupThatAKeyElsewhereTakes) {
  EXPECT_EQ(error_of("run: {steps: 100}\ndata: skip"),
            "FILE:2: data: is a group, expected keys below it, as in data.path, or is "
            "leapverify.data meant?");
  EXPECT_EQ(override_error("schedule=advance"),
            "--set schedule=advance: schedule: is a group, expected keys below it, as in "
            "schedule.kind, or is leapverify.schedule meant?");
}

TEST_F(ConfigErrorsTest, WhatFollowsLeapsWhereThereAreNone) {
  EXPECT_EQ(error_of("leapverify:\n  data: skip\n"),
            "FILE:2: leapverify.data: skip is not legal, expected keep with on_accept: rate, which "
            "makes no leaps");
  EXPECT_EQ(override_error("leapverify.schedule=advance"),
            "--set leapverify.schedule=advance: leapverify.schedule: advance is not legal, "
            "expected keep with on_accept: rate, which makes no leaps");
}

TEST_F(ConfigErrorsTest, WhatNeedsValidationsWhereThereAreNone) {
  EXPECT_EQ(
      error_of("run:\n  eval_every: 0\n  target_loss: 3"),
      "FILE:3: run.target_loss: 3 is not legal, expected 0, as run.eval_every = 0 validates only "
      "at the end");
  EXPECT_EQ(
      error_of("run: {eval_every: 0, keep_best: true}"),
      "FILE:1: run.keep_best: true is not legal, expected false, as run.eval_every = 0 validates "
      "only at the end");
  EXPECT_EQ(error_of("run: {eval_every: 0}"), "no error");
}

TEST_F(ConfigErrorsTest, AKeyOfAnotherModel) {
  EXPECT_EQ(error_of("model: {name: gpt2, width: 256}"),
            "FILE:1: model.width: has no effect with model.name: gpt2");
  EXPECT_EQ(error_of("model: {gpt2: {n_embd: 256}}"),
            "FILE:1: model.gpt2.n_embd: has no effect with model.name: gpt");
  EXPECT_EQ(error_of("model:\n  name: pretrained\n  folder: x\n  qwen2:\n    rope_theta: 1.0e+4"),
            "FILE:5: model.qwen2.rope_theta: has no effect with model.name: pretrained");
  EXPECT_EQ(override_error("model.folder=x"),
            "--set model.folder=x: model.folder: has no effect with model.name: gpt");
}

TEST_F(ConfigErrorsTest, AKeyOfAnotherOptimizer) {
  EXPECT_EQ(error_of("optimizer:\n  name: adamw\n  momentum: 0.5\n"),
            "FILE:3: optimizer.momentum: has no effect with optimizer.name: adamw");
  EXPECT_EQ(override_error("optimizer.muon.momentum=0.5"),
            "--set optimizer.muon.momentum=0.5: optimizer.muon.momentum: has no effect with "
            "optimizer.name: adamw");
  EXPECT_EQ(error_of("optimizer: {momentum: 0.5}", {"optimizer.name=muon"}),
            "FILE:1: optimizer.momentum: has no effect with optimizer.name: muon");
  for (const std::string key : {"beta1", "beta2", "eps"}) {
    EXPECT_EQ(error_of("optimizer: {name: sgd, " + key + ": 0.5}"),
              "FILE:1: optimizer." + key + ": has no effect with optimizer.name: sgd");
    EXPECT_EQ(error_of("optimizer: {name: muon, " + key + ": 0.5}"), "no error");
  }
  EXPECT_EQ(error_of("optimizer: {name: sgd, momentum: 0.5}"), "no error");
}

TEST_F(ConfigErrorsTest, AModelThatCannotBe) {
  EXPECT_EQ(error_of("model: {name: pretrained}"),
            "model.folder: \"\" is not legal, expected a folder of Hugging Face files, for name: "
            "pretrained");
  EXPECT_EQ(error_of("model: {name: gpt2, gpt2: {n_embd: 100}}"),
            "FILE:1: model.gpt2.n_embd: 100 is not legal, expected a multiple of n_head = 12");
  EXPECT_EQ(error_of("model: {name: qwen2, qwen2: {hidden_size: 100}}"),
            "FILE:1: model.qwen2.hidden_size: 100 is not legal, expected an even multiple of "
            "num_attention_heads = 14");
}

TEST_F(ConfigErrorsTest, ABatchTooSmallToCompareOn) {
  const std::string leaps = "\nleapverify: {preset: verified, enabled: true, gate: next_batch, ";
  EXPECT_EQ(error_of("batch: {sequences: 13}" + leaps + "probes: 0}"),
            "FILE:1: batch.sequences: 13 is not legal, expected at least 14, with "
            "batch.accumulate = 1 the 14 that the rule sequential needs with leapverify.gate: "
            "next_batch, and 32 for it to accept more than hardly anything");
  EXPECT_EQ(error_of("batch: {sequences: 14}" + leaps + "probes: 0}"), "no error");
  EXPECT_EQ(error_of("batch: {sequences: 3}" + leaps + "verification: {rule: strict}}"),
            "FILE:1: batch.sequences: 3 is not legal, expected at least 16, with "
            "batch.accumulate = 1 the 16 that the rule strict needs with leapverify.gate: "
            "next_batch");
  EXPECT_EQ(
      error_of("batch: {sequences: 3, accumulate: 5}" + leaps + "verification: {rule: strict}}"),
      "FILE:1: batch.sequences: 3 is not legal, expected at least 4, with "
      "batch.accumulate = 5 the 16 that the rule strict needs with leapverify.gate: "
      "next_batch");
  EXPECT_EQ(error_of("batch: {sequences: 7, accumulate: 2}" + leaps + "probes: 0}"), "no error");
  EXPECT_EQ(error_of("batch: {sequences: 3}\nleapverify: {gate: next_batch}"), "no error");
}

TEST_F(ConfigErrorsTest, BrokenYaml) {
  EXPECT_EQ(error_of("run: {steps: 200}\noptimizer: {lr: 1\n"),
            "FILE:3: broken YAML: end of map flow not found");
  EXPECT_EQ(error_of("run:\n  steps: 1\n seed: 2\n"), "FILE:3: broken YAML: end of map not found");
  EXPECT_EQ(error_of("run: *nothing\n"),
            "FILE:1: broken YAML: the referenced anchor is not defined");
  EXPECT_EQ(error_of("just words"),
            "FILE:1: expected groups of keys, as in optimizer: {lr: 0.001}");
  EXPECT_EQ(error_of("- a\n"), "FILE:1: expected groups of keys, as in optimizer: {lr: 0.001}");
  EXPECT_EQ(error_of("run: {seed: 1}\n---\nrun: {seed: 2}\n"),
            "FILE:3: a second YAML document, expected one");
  EXPECT_EQ(error_of("{[a, b]: c}"), "FILE:1: a key must be a word");
}

TEST_F(ConfigErrorsTest, AListThatContainsItself) {
  EXPECT_EQ(error_of("leapverify: {horizons: &a [5, *a]}"),
            "FILE:1: leapverify.horizons: [5, ...] is not legal, expected a list, each an integer "
            "≥ 1");
}

TEST_F(ConfigErrorsTest, AFileThatCannotBeRead) {
  const std::string missing = path("missing.yaml");
  EXPECT_EQ(message_of([&] { load_config("", missing, {}); }),
            missing + ": cannot be read, expected a YAML file");
  EXPECT_EQ(message_of([&] { load_config("", path(""), {}); }),
            path("") + ": cannot be read, expected a YAML file");
}

TEST_F(ConfigErrorsTest, OptionsThatDoNotFitEachOther) {
  EXPECT_EQ(error_of("run: {steps: 300}\nmodel:\n  heads: 3\n  width: 100\n"),
            "FILE:4: model.width: 100 is not legal, expected a multiple of heads = 3");
  EXPECT_EQ(error_of("model: {heads: 3}"),
            "model.width: 128 is not legal, expected a multiple of heads = 3");
  EXPECT_EQ(error_of("data:\n  gate_share: 0.9\n"),
            "FILE:2: data.gate_share: 0.9 is not legal, expected at most 0.9 together with "
            "validation_share = 0.05, the rest is for training");
  EXPECT_EQ(error_of("leapverify:\n  detector: {chaotic_percentile: 80}\n"),
            "FILE:2: leapverify.detector.chaotic_percentile: 80 is not legal, expected less than "
            "stable_percentile = 70");
  EXPECT_EQ(error_of("run: {steps: 60}\nschedule: {warmup: 61}\n"),
            "FILE:2: schedule.warmup: 61 is not legal, expected at most run.steps = 60");
}

TEST_F(ConfigErrorsTest, AHorizonBeyondTheRun) {
  const std::string steps = "run: {steps: 200}\n";
  EXPECT_EQ(error_of(steps + "leapverify: {preset: verified, enabled: true, horizons: [5, 200]}"),
            "FILE:2: leapverify.horizons: 200 is not legal, expected a horizon shorter than the "
            "run of 200 steps");
  EXPECT_EQ(error_of(steps + "leapverify: {preset: verified, enabled: true}",
                     {"leapverify.horizons=[300]"}),
            "--set leapverify.horizons=[300]: leapverify.horizons: 300 is not legal, expected a "
            "horizon shorter than the run of 200 steps");
}

TEST_F(ConfigErrorsTest, AnOverride) {
  EXPECT_EQ(override_error("optimizer.lr=-1"),
            "--set optimizer.lr=-1: optimizer.lr: -1 is not legal, expected a number > 0");
  EXPECT_EQ(override_error("optimizer.lr="),
            "--set optimizer.lr=: optimizer.lr: \"\" is not legal, expected a number > 0");
  EXPECT_EQ(override_error("optimizer.lrr=1"),
            "--set optimizer.lrr=1: optimizer.lrr: unknown key, did you mean optimizer.lr?");
  EXPECT_EQ(override_error("optimizer.lr"),
            "--set optimizer.lr: expected KEY=VALUE, as in optimizer.lr=0.001");
  EXPECT_EQ(override_error("=3"), "--set =3: expected KEY=VALUE, as in optimizer.lr=0.001");
  EXPECT_EQ(override_error("optimizer=adamw"),
            "--set optimizer=adamw: optimizer: is a group, expected keys below it, as in "
            "optimizer.name");
  EXPECT_EQ(override_error("leapverify.horizons=[5"),
            "--set leapverify.horizons=[5: broken YAML: end of sequence flow not found");
  EXPECT_EQ(override_error("leapverify.horizons=5"),
            "--set leapverify.horizons=5: leapverify.horizons: 5 is not legal, expected a list, "
            "each an integer ≥ 1");
}

TEST_F(ConfigErrorsTest, AnUnknownPreset) {
  EXPECT_EQ(message_of([] { load_config("dmo", "", {}); }),
            "preset dmo: unknown, expected one of demo, demo-gpu, gpt2-124m, gpt2-124m-scratch, "
            "qwen2.5-1.5b, qwen2.5-1.5b-lora, paper-gpt2, paper-qwen, paper");
}

TEST_F(ConfigErrorsTest, APresetThatDoesNotFit) {
  EXPECT_EQ(message_of([] {
              load_config("demo", "", {"run.steps=40", "leapverify.enabled=false"});
            }),
            "preset demo: schedule.warmup: 50 is not legal, expected at most run.steps = 40");
}

}  // namespace
}  // namespace leapverify::trainer

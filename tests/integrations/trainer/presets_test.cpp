#include <gmock/gmock.h>
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/presets.h>

namespace leapverify::trainer {
namespace {

/// A preset that needs a folder, with one; others as they are.
Config load_preset(const std::string& name) {
  try {
    return load_config(name, "", {});
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("model.folder: \"\" is not legal"));
    return load_config(name, "", {"model.folder=x"});
  }
}

TEST(Presets, AllLoadAndSwitchLeapVerifyOn) {
  EXPECT_THAT(
      preset_names(),
      ::testing::ElementsAre("demo", "demo-gpu", "gpt2-124m", "gpt2-124m-scratch", "qwen2.5-1.5b",
                             "qwen2.5-1.5b-lora", "paper-gpt2", "paper-qwen", "paper"));
  for (const std::string& name : preset_names()) {
    EXPECT_TRUE(load_preset(name).leapverify.options.enabled) << name;
  }
}

TEST(Presets, GoOverTheTokensOfGpt3SmallInABatch) {
  const Config config = load_preset("gpt2-124m-scratch");
  EXPECT_EQ(config.batch.sequences_of_step() * config.batch.context, 524288);
  EXPECT_NEAR(static_cast<double>(config.run.steps) * 524288, 1e10, 1e6);
  EXPECT_NEAR(static_cast<double>(config.schedule.warmup) * 524288, 375e6, 1e6);
}

TEST(Presets, LeaveOutWhatAnotherModelOrOptimizerDoesNotRead) {
  const Config config = load_config("paper", "", {"model.name=gpt2", "optimizer.name=sgd"});
  EXPECT_EQ(config.model.gpt.context, Config().model.gpt.context);
  EXPECT_EQ(config.optimizer.beta2, Config().optimizer.beta2);
  EXPECT_EQ(config.optimizer.weight_decay, 0.01);
}

TEST(Presets, DescribeThemselvesInOneLine) {
  for (const Preset& preset : presets()) {
    const std::string description = preset.description;
    EXPECT_FALSE(description.empty()) << preset.name;
    EXPECT_EQ(description.find('\n'), std::string::npos) << preset.name;
  }
}

/// All that the three published set-ups share.
void expect_published(const Config& config, std::int64_t verification_sequences) {
  EXPECT_EQ(config.run.steps, 2000);
  EXPECT_EQ(config.optimizer.name, OptimizerName::kAdamW);
  EXPECT_EQ(config.optimizer.lr, 5e-5);
  EXPECT_EQ(config.optimizer.beta1, 0.9);
  EXPECT_EQ(config.optimizer.beta2, 0.999);
  EXPECT_EQ(config.optimizer.weight_decay, 0.01);
  EXPECT_TRUE(config.optimizer.decay_embeddings);
  EXPECT_TRUE(config.optimizer.decay_vectors);
  EXPECT_EQ(config.optimizer.clip, 1);
  EXPECT_EQ(config.schedule.warmup, 100);
  EXPECT_EQ(config.schedule.kind, ScheduleKind::kCosine);
  EXPECT_EQ(config.schedule.final_share, 0.1);

  LeapVerifyConfig published;
  published.preset = OptionsPreset::kPaper;
  published.options = Options::paper();
  published.options.verification.sequences = verification_sequences;
  Config expected = config;
  expected.leapverify = published;
  EXPECT_EQ(to_yaml(config), to_yaml(expected));
}

TEST(Presets, PaperHasThePublishedSettings) {
  const Config config = load_preset("paper");
  expect_published(config, 32);
  EXPECT_EQ(config.model.gpt.context, 256);
  EXPECT_EQ(config.batch.sequences, 4);
}

TEST(Presets, PaperGpt2AndPaperQwenAreThePublishedExperiments) {
  const Config gpt2 = load_preset("paper-gpt2"), qwen = load_preset("paper-qwen");
  expect_published(gpt2, 32);
  expect_published(qwen, 8);
  EXPECT_EQ(gpt2.batch.sequences_of_step(), 4);
  EXPECT_EQ(qwen.batch.sequences_of_step(), 2);
  for (const Config& config : {gpt2, qwen}) {
    EXPECT_EQ(config.batch.context, 256);
    EXPECT_EQ(config.run.seed, 42) << "the first of 42 to 46";
    EXPECT_EQ(config.model.name, models::ModelName::kPretrained);
  }
  EXPECT_EQ(load_config("paper-gpt2", "", {"model.name=gpt2"}).model.name,
            models::ModelName::kGpt2);
}

}  // namespace
}  // namespace leapverify::trainer

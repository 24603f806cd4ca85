#include <gmock/gmock.h>
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/presets.h>

namespace leapverify::trainer {
namespace {

TEST(Presets, AllLoadAndSwitchLeapVerifyOn) {
  EXPECT_THAT(preset_names(), ::testing::ElementsAre("demo", "demo-gpu", "paper"));
  for (const std::string& name : preset_names()) {
    EXPECT_TRUE(load_config(name, "", {}).leapverify.options.enabled) << name;
  }
}

TEST(Presets, DescribeThemselvesInOneLine) {
  for (const Preset& preset : presets()) {
    const std::string description = preset.description;
    EXPECT_FALSE(description.empty()) << preset.name;
    EXPECT_EQ(description.find('\n'), std::string::npos) << preset.name;
  }
}

TEST(Presets, PaperHasThePublishedSettings) {
  const Config config = load_config("paper", "", {});
  EXPECT_EQ(config.run.steps, 2000);
  EXPECT_EQ(config.model.gpt.context, 256);
  EXPECT_EQ(config.batch.sequences, 4);
  EXPECT_EQ(config.optimizer.name, OptimizerName::kAdamW);
  EXPECT_EQ(config.optimizer.lr, 5e-5);
  EXPECT_EQ(config.optimizer.beta1, 0.9);
  EXPECT_EQ(config.optimizer.beta2, 0.999);
  EXPECT_EQ(config.optimizer.weight_decay, 0.01);
  EXPECT_EQ(config.optimizer.clip, 1);
  EXPECT_EQ(config.schedule.warmup, 100);
  EXPECT_EQ(config.schedule.kind, ScheduleKind::kCosine);
  EXPECT_EQ(config.schedule.final_share, 0.1);

  LeapVerifyConfig published;
  published.preset = LeapPreset::kPaper;
  published.options = Options::paper();
  Config expected = config;
  expected.leapverify = published;
  EXPECT_EQ(to_yaml(config), to_yaml(expected));
}

}  // namespace
}  // namespace leapverify::trainer

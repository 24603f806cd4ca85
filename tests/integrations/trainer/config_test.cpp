#include <gmock/gmock.h>
#include <leapverify/integrations/trainer/config.h>
#include <yaml-cpp/yaml.h>

#include <functional>
#include <limits>
#include <map>
#include <set>
#include <sstream>

#include "integrations/temporary_folder.h"

namespace leapverify::trainer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ConfigTest : public testing::TemporaryFolder {
 protected:
  Config load(const std::string& yaml, const std::vector<std::string>& overrides = {}) const {
    return load_config("", write("config.yaml", yaml), overrides);
  }
};

/// Calls visit(dotted name, value) for each key of a written config.
void for_each_key(const std::string& yaml,
                  const std::function<void(const std::string&, const YAML::Node&)>& visit) {
  const std::function<void(const std::string&, const YAML::Node&)> descend =
      [&](const std::string& name, const YAML::Node& node) {
        if (!node.IsMap()) return visit(name, node);
        for (const auto& item : node) {
          descend((name.empty() ? "" : name + ".") + item.first.Scalar(), item.second);
        }
      };
  descend("", YAML::Load(yaml));
}

/// Another legal value of a key with this value.
std::string another_value(const std::string& name, const YAML::Node& node) {
  static const std::map<std::string, std::string> words = {
      {"run.device", "cuda"},
      {"run.precision", "bf16"},
      {"model.name", "gpt2"},
      {"data.format", "llmc"},
      {"data.document_end", "7"},
      {"model.dropout", "0.5"},
      {"model.lora.dropout", "0.5"},
      {"model.qwen2.num_key_value_heads", "7"},
      {"model.qwen2.attention_dropout", "0.5"},
      {"optimizer.name", "muon"},
      {"optimizer.muon.rate", "original"},
      {"schedule.kind", "linear"},
      {"speculation.kind", "race"},
      {"speculation.relative_to", "norm"},
      {"speculation.device", "cuda"},
      {"leapverify.preset", "paper"},
      {"leapverify.mode", "shadow"},
      {"leapverify.predictor", "quadratic"},
      {"leapverify.least_regime", "transition"},
      {"leapverify.detector.signal", "activation_cosine"},
      {"leapverify.detector.thresholds", "fixed"},
      {"leapverify.verification.rule", "adaptive"},
      {"leapverify.verification.alpha", "0.25"},
      {"leapverify.snapshots", "host"},
      {"leapverify.gate", "fixed"},
      {"leapverify.moments", "reset"},
      {"leapverify.moment_scale", "0.5"},
      {"leapverify.reference", "current"},
      {"leapverify.on_accept", "both"},
      {"leapverify.rate.growth", "1.25"},
      {"leapverify.rate.start", "0.5"},
      {"leapverify.rate.anneal", "0.5"},
      {"leapverify.schedule", "advance"},
      {"leapverify.data", "skip"},
      {"leapverify.batch_norm", "recompute"},
      {"leapverify.verification.when", "raced"},
      {"leapverify.rate.smallest", "0.5"},
      {"leapverify.detector.stable_at_least", "0.9999"},
      {"leapverify.detector.stable_percentile", "80"}};
  if (name == "leapverify.portfolio") return "[linear, average]";
  if (node.IsSequence()) return name == "leapverify.horizons" ? "[7, 9]" : "[.a, .b]";
  const auto word = words.find(name);
  if (word != words.end() && word->second != node.as<std::string>()) return word->second;
  if (node.Scalar() == "true") return "false";
  if (node.Scalar() == "false") return "true";
  double number = 0;
  if (!YAML::convert<double>::decode(node, number)) return "some text";
  const bool integer = node.Scalar().find_first_not_of("0123456789") == std::string::npos;
  if (!integer) return "0.75";
  return number == 0 ? "1" : std::to_string(static_cast<std::int64_t>(2 * number));
}

/// What other values than the default need beside them; a key stands for those of its group.
const std::map<std::string, std::string> kNeededBeside = {
    {"model.folder", "model.name=pretrained"},
    {"model.gpt2", "model.name=gpt2"},
    {"model.qwen2", "model.name=qwen2"},
    {"model.lora", "model.lora.rank=4"},
    {"optimizer.momentum", "optimizer.name=sgd"},
    {"optimizer.muon", "optimizer.name=muon"},
    {"leapverify.cascade", "leapverify.on_accept=leap"},
    {"leapverify.schedule", "leapverify.on_accept=leap"},
    {"leapverify.data", "leapverify.on_accept=leap"},
    {"leapverify.gate", "leapverify.verification.rule=strict"},
    {"leapverify.min_signal_to_noise", "leapverify.predictor=least_squares"},
    {"leapverify.portfolio", "leapverify.predictor=portfolio"},
    {"leapverify.verification.settle_steps", "leapverify.verification.when=raced"}};

TEST_F(ConfigTest, AnEmptyFileGivesTheDefaults) {
  const std::string defaults = to_yaml(Config());
  EXPECT_EQ(to_yaml(load("")), defaults);
  EXPECT_EQ(to_yaml(load("# nothing\nrun:\noptimizer: {}\n")), defaults);
  EXPECT_EQ(to_yaml(load_config("", "", {})), defaults);
}

TEST_F(ConfigTest, LeapVerifyIsOffUntilEnabled) {
  EXPECT_FALSE(load("").leapverify.options.enabled);
  EXPECT_TRUE(load("leapverify: {enabled: true}").leapverify.options.enabled);
}

TEST_F(ConfigTest, EnabledAndNothingElseNeedsNoLearningRate) {
  EXPECT_EQ(to_yaml(load("leapverify: {enabled: true}")),
            to_yaml(load("leapverify: {enabled: true, preset: auto}")));
  const Options options = load("leapverify: {enabled: true}").leapverify.options;
  EXPECT_TRUE(options.rate.free);
  EXPECT_GT(options.rate.looks, 0);
  const Options verified = load("leapverify: {enabled: true, preset: verified}").leapverify.options;
  EXPECT_FALSE(verified.rate.free);
  EXPECT_EQ(verified.rate.looks, 0);
}

TEST_F(ConfigTest, ValuesOfEveryKindAreRead) {
  const Config config = load(R"(
run: {folder: "runs/a b", device: cpu, steps: 300, seed: 9007199254740993}
data:
  extensions: [.py, ".md"]
  exclude: []
optimizer.lr: 3e-4
schedule: {kind: linear, final_share: 0}
leapverify: {preset: verified, enabled: true, horizons: [5, 10], max_overhead: .inf}
)");
  EXPECT_EQ(config.run.folder, "runs/a b");
  EXPECT_EQ(config.run.device, DeviceChoice::kCpu);
  EXPECT_EQ(config.run.steps, 300);
  EXPECT_EQ(config.run.seed, 9007199254740993);
  EXPECT_THAT(config.data.extensions, ElementsAre(".py", ".md"));
  EXPECT_THAT(config.data.exclude, IsEmpty());
  EXPECT_EQ(config.optimizer.lr, 3e-4);
  EXPECT_EQ(config.schedule.kind, ScheduleKind::kLinear);
  EXPECT_EQ(config.schedule.final_share, 0);
  EXPECT_THAT(config.leapverify.options.controller.horizons, ElementsAre(5, 10));
  EXPECT_EQ(config.leapverify.options.controller.max_overhead,
            std::numeric_limits<double>::infinity());
}

TEST_F(ConfigTest, OverridesWinOverTheFileAndTheFileOverThePreset) {
  const std::string file = write("config.yaml", "optimizer: {lr: 2, beta1: 0.2}");
  const Config config = load_config("paper", file, {"optimizer.beta1=0.3"});
  EXPECT_EQ(config.optimizer.beta1, 0.3);
  EXPECT_EQ(config.optimizer.lr, 2);
  EXPECT_EQ(config.optimizer.beta2, 0.999);
}

TEST_F(ConfigTest, OverridesTakeEveryKindOfValue) {
  const Config config = load_config(
      "", "",
      {"leapverify.horizons=[5,10]", "data.extensions=[.py, .md]", "run.folder=a: b #c",
       "data.path=x=y", "run.device=cpu", "leapverify.preset=verified", "leapverify.enabled=true",
       "leapverify.max_overhead=inf", "batch={sequences: 3}"});
  EXPECT_THAT(config.leapverify.options.controller.horizons, ElementsAre(5, 10));
  EXPECT_THAT(config.data.extensions, ElementsAre(".py", ".md"));
  EXPECT_EQ(config.run.folder, "a: b #c");
  EXPECT_EQ(config.data.path, "x=y");
  EXPECT_EQ(config.run.device, DeviceChoice::kCpu);
  EXPECT_TRUE(config.leapverify.options.enabled);
  EXPECT_EQ(config.leapverify.options.controller.max_overhead,
            std::numeric_limits<double>::infinity());
  EXPECT_EQ(config.batch.sequences, 3);
  EXPECT_EQ(load_config("", "", {"run.folder="}).run.folder, "");
}

TEST_F(ConfigTest, ThePlannedStepsAreThoseOfTheRun) {
  EXPECT_EQ(load("run: {steps: 700}").leapverify.options.planned_steps, 700);
}

TEST_F(ConfigTest, TheDefaultWarmUpIsNoReasonToRefuseAShortRun) {
  EXPECT_EQ(load("run: {steps: 5}").schedule.warmup, 5);
  EXPECT_EQ(load("run: {steps: 5000}").schedule.warmup, ScheduleOptions().warmup);
}

TEST_F(ConfigTest, TheLeapPresetAppliesBeforeTheOtherKeysOfItsFile) {
  for (const char* yaml : {"leapverify: {preset: paper, observe_every: 40, enabled: true}",
                           "leapverify: {observe_every: 40, enabled: true, preset: paper}"}) {
    const Options options = load(yaml).leapverify.options;
    EXPECT_EQ(options.observe_every, 40);
    EXPECT_EQ(options.probes, Options::paper().probes);
    EXPECT_TRUE(options.enabled);
  }
}

TEST_F(ConfigTest, ALaterLeapPresetResetsAllButTheSwitch) {
  const std::vector<std::string> to_paper = {"leapverify.preset=paper"};
  const Options paper =
      load("leapverify: {enabled: true, observe_every: 40}", to_paper).leapverify.options;
  EXPECT_EQ(paper.observe_every, Options::paper().observe_every);
  EXPECT_TRUE(paper.enabled);
  EXPECT_FALSE(load("", to_paper).leapverify.options.enabled);
  EXPECT_EQ(load("leapverify: {preset: auto}").leapverify.options.on_accept, OnAccept::kRate);
  const Options options =
      load("leapverify: {preset: paper}", {"leapverify.preset=auto"}).leapverify.options;
  EXPECT_EQ(options.probes, Options().probes);
}

TEST_F(ConfigTest, EveryKeyCanBeSetAndSurvivesARoundTrip) {
  const std::string defaults = to_yaml(Config());
  for_each_key(defaults, [&](const std::string& name, const YAML::Node& node) {
    const std::string value = another_value(name, node);
    std::vector<std::string> overrides = {name + "=" + value};
    for (const std::string& key : {name, name.substr(0, name.rfind('.'))}) {
      const auto beside = kNeededBeside.find(key);
      const bool itself = beside != kNeededBeside.end() && beside->second.rfind(name + "=", 0) == 0;
      if (beside != kNeededBeside.end() && !itself) overrides.push_back(beside->second);
    }
    const std::string changed = to_yaml(load_config("", "", overrides));
    EXPECT_NE(changed, defaults) << name << "=" << value;
    EXPECT_EQ(to_yaml(load(changed)), changed) << name << "=" << value;
  });
}

TEST_F(ConfigTest, TheModelIsChosenByName) {
  const Config config = load(
      "model: {name: qwen2, activation_checkpointing: true, qwen2: {num_hidden_layers: 2}}\n"
      "batch: {context: 512, accumulate: 4}\nrun: {precision: bf16}");
  EXPECT_EQ(config.model.name, models::ModelName::kQwen2);
  EXPECT_EQ(config.model.qwen2.layers, 2);
  EXPECT_TRUE(config.model.activation_checkpointing);
  EXPECT_EQ(config.batch.context, 512);
  EXPECT_EQ(config.batch.sequences_of_step(), 64);
  EXPECT_EQ(config.run.precision, Precision::kBf16);
}

TEST_F(ConfigTest, NumbersSurviveARoundTripExactly) {
  Config config = load("");
  config.optimizer.lr = 0.1 + 0.2;
  config.optimizer.eps = 1e-300;
  config.leapverify.options.controller.max_overhead = std::numeric_limits<double>::infinity();
  const Config read = load(to_yaml(config));
  EXPECT_EQ(read.optimizer.lr, config.optimizer.lr);
  EXPECT_EQ(read.optimizer.eps, config.optimizer.eps);
  EXPECT_EQ(read.leapverify.options.controller.max_overhead,
            config.leapverify.options.controller.max_overhead);
}

TEST_F(ConfigTest, TextsSurviveARoundTrip) {
  for (const char* text : {"", "~", "null", "true", "3", "a: b", "#c", "a #c", " a ", "[x", "x, y",
                           "- a", "\"q\"", "'", "back\\slash", "line\nbreak", "é", "&a", "*a"}) {
    Config config;
    config.run.folder = text;
    config.data.exclude = {text, "b"};
    const Config read = load(to_yaml(config));
    EXPECT_EQ(read.run.folder, text);
    EXPECT_THAT(read.data.exclude, ElementsAre(text, "b"));
  }
}

TEST(ToYaml, GroupsItsKeys) {
  const std::string yaml = to_yaml(Config());
  EXPECT_THAT(yaml, HasSubstr("batch:\n  sequences: 16\n  accumulate: 1\n  context: "
                              "0\n  held_out: "
                              "0\noptimizer:\n  name: adamw\n  lr: 0.001\n"));
  EXPECT_THAT(yaml, HasSubstr("\n  eps: 1.0e-08\n"));
  EXPECT_THAT(yaml, HasSubstr("  verification:\n    rule: "));
  EXPECT_THAT(yaml, Not(HasSubstr("#")));
}

TEST(ExplainConfig, ListsEveryKeyOnceWithItsDefault) {
  std::multiset<std::string> written, explained;
  const auto collect = [](std::multiset<std::string>& into) {
    return [&into](const std::string& name, const YAML::Node& node) {
      into.insert(name + " = " + YAML::Dump(node));
    };
  };
  for_each_key(to_yaml(Config()), collect(written));
  for_each_key(explain_config(), collect(explained));
  EXPECT_EQ(explained, written);
  EXPECT_EQ(std::set<std::string>(written.begin(), written.end()).size(), written.size());
  EXPECT_EQ(explained.count("optimizer.lr = 0.001"), 1u);
}

TEST_F(ConfigTest, TheExplanationIsItselfAConfig) {
  EXPECT_EQ(to_yaml(load(explain_config())), to_yaml(Config()));
}

TEST(ExplainConfig, GivesMeaningAndLegalValuesInAlignedLines) {
  const std::string text = explain_config();
  EXPECT_THAT(text, HasSubstr("\noptimizer:\n"
                              "  name: adamw                     # the base optimizer, which "
                              "LeapVerify wraps (adamw, muon or sgd)\n"
                              "  lr: 0.001                       # learning rate after warm-up (a "
                              "number > 0)\n"));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 112u) << line;
    const std::size_t comment = line.find('#');
    EXPECT_TRUE(comment == std::string::npos || comment == 34) << line;
  }
}

}  // namespace
}  // namespace leapverify::trainer

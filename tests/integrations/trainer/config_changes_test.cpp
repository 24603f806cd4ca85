#include <gmock/gmock.h>
#include <leapverify/integrations/trainer/config_changes.h>

namespace leapverify::trainer {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

TEST(ConfigChanges, AreTheKeysWithAnotherValue) {
  const Config before;
  Config now = before;
  EXPECT_THAT(config_changes(config_values(before), now), IsEmpty());
  now.optimizer.lr = 1e-8;
  now.data.extensions = {".a", "b c"};
  const std::vector<ConfigChange> changes = config_changes(config_values(before), now);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].key, "data.extensions");
  EXPECT_EQ(changes[0].from, "[]");
  EXPECT_EQ(changes[0].to, "[.a, b c]");
  EXPECT_EQ(changes[1].key, "optimizer.lr");
  EXPECT_EQ(changes[1].from, "0.001");
  EXPECT_EQ(changes[1].to, "1.0e-08");
  EXPECT_THAT(config_changes({}, now), IsEmpty()) << "of keys not known before";
}

TEST(ConfigChanges, CanBeTakenBack) {
  const Config before;
  Config now = before;
  now.data.path = "'a': b";
  now.data.extensions = {".a", "b c"};
  now.optimizer.lr = 1e-8;
  now.model.activation_checkpointing = true;
  now.model.name = models::ModelName::kGpt2;
  const auto back = [](const Config& from, const Config& to) {
    return to_yaml(without_changes(from, config_changes(config_values(to), from)));
  };
  EXPECT_EQ(back(now, before), to_yaml(before));
  EXPECT_EQ(back(before, now), to_yaml(now));
}

TEST(ConfigChanges, OfTheModelOrTheOptimizersNameAreRefused) {
  const auto refused = [](const char* key) {
    return [key] { refuse_another_model({{"optimizer.lr", "1", "2"}, {key, "16", "32"}}); };
  };
  EXPECT_THAT(refused("model.width"),
              ThrowsMessage<InvalidOption>(
                  "model.width: 32 is not legal, expected 16, as the run was trained with: "
                  "optimizer.name and the keys below model stay, but for dropout, "
                  "activation_checkpointing and folder; 'leapverify train' begins a run with "
                  "others"));
  for (const char* key : {"model.name", "model.qwen2.rope_theta", "model.lora.alpha"}) {
    EXPECT_THAT(refused(key), ThrowsMessage<InvalidOption>(HasSubstr(key)));
  }
  EXPECT_THAT(refused("optimizer.name"), ThrowsMessage<InvalidOption>(HasSubstr("optimizer.name")));
  for (const char* key : {"model.folder", "model.activation_checkpointing", "model.dropout",
                          "model.lora.dropout", "model.gpt2.embd_pdrop", "run.steps"}) {
    EXPECT_NO_THROW(refused(key)()) << key;
  }
}

TEST(ConfigChanges, TakeNamesThatAreNoUtf8) {
  Config before;
  before.data.path = "a\xff\xc3\xa9";
  EXPECT_EQ(config_values(before)["data.path"], "a\xef\xbf\xbd\xc3\xa9");
  EXPECT_THAT(config_changes(config_values(before), before), IsEmpty());
}

TEST(ConfigChanges, AreOneEventOfTheTrace) {
  EXPECT_EQ(config_event(7, {{"optimizer.lr", "1", "2"}, {"data.path", "a \"b\"", "c"}}),
            R"({"event":"config","step":7,"changed":{"optimizer.lr":{"from":"1","to":"2"},)"
            R"("data.path":{"from":"a \"b\"","to":"c"}}})");
}

}  // namespace
}  // namespace leapverify::trainer

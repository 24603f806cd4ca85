#include <gmock/gmock.h>
#include <leapverify/integrations/distributed/launch.h>

#include <map>

namespace leapverify::distributed {
namespace {

using testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

Launch launch_in(const Variables& variables) {
  return read_launch([&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

std::string refusal_in(Variables variables, const std::string& name,
                       const std::optional<std::string>& value) {
  variables.erase(name);
  if (value) variables[name] = *value;
  try {
    launch_in(variables);
  } catch (const LaunchError& error) {
    return error.what();
  }
  return "";
}

const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "node-0"},
                             {"MASTER_PORT", "29500"},
                             {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                             {"TORCHELASTIC_RESTART_COUNT", "2"}};
const Variables kMpi = {{"OMPI_COMM_WORLD_RANK", "3"},
                        {"OMPI_COMM_WORLD_SIZE", "4"},
                        {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                        {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};

TEST(Launch, APlainStartIsAlone) {
  const Launch launch = launch_in({{"HOME", "/home/me"}});
  EXPECT_EQ(launch.launcher, Launcher::kNone);
  EXPECT_EQ(launch.size, 1);
}

TEST(Launch, TorchrunsVariables) {
  const Launch launch = launch_in(kTorchrun);
  EXPECT_EQ(launch.launcher, Launcher::kTorchrun);
  EXPECT_EQ(launch.rank, 5);
  EXPECT_EQ(launch.size, 8);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_size, 4);
  EXPECT_EQ(launch.host, "node-0");
  EXPECT_EQ(launch.port, 29500);
  EXPECT_TRUE(launch.agent_listens);
  EXPECT_EQ(launch.attempt, 2);
}

TEST(Launch, AStartByHandOnOneMachine) {
  const Launch launch = launch_in(
      {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "localhost"}, {"MASTER_PORT", "1234"}});
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_size, 2);
  EXPECT_FALSE(launch.agent_listens);
}

TEST(Launch, MpirunsVariables) {
  const Launch launch = launch_in(kMpi);
  EXPECT_EQ(launch.launcher, Launcher::kMpi);
  EXPECT_EQ(launch.rank, 3);
  EXPECT_EQ(launch.size, 4);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_size, 2);
}

TEST(Launch, WhatIsMissingIsNamed) {
  for (const char* name : {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}) {
    EXPECT_THAT(refusal_in(kTorchrun, name, std::nullopt),
                HasSubstr(std::string(name) + " is not set"));
  }
  EXPECT_THAT(refusal_in(kMpi, "OMPI_COMM_WORLD_RANK", std::nullopt),
              HasSubstr("OMPI_COMM_WORLD_RANK is not set"));
}

TEST(Launch, WhatCannotBeIsRefusedWithItsRange) {
  EXPECT_EQ(refusal_in(kTorchrun, "RANK", "8"), "RANK is '8', expected a whole number from 0 to 7");
  EXPECT_EQ(refusal_in(kTorchrun, "WORLD_SIZE", "two"),
            "WORLD_SIZE is 'two', expected a whole number from 1 to 1048576");
  EXPECT_EQ(refusal_in(kTorchrun, "MASTER_PORT", "70000"),
            "MASTER_PORT is '70000', expected a whole number from 1 to 65535");
  EXPECT_EQ(refusal_in(kTorchrun, "LOCAL_RANK", "4"),
            "LOCAL_RANK is '4', expected a whole number from 0 to 3");
}

}  // namespace
}  // namespace leapverify::distributed

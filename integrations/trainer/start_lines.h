// What a run says of itself before it begins.
#pragma once

#include <leapverify/integrations/data/text.h>
#include <leapverify/integrations/distributed/launch.h>
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/config_changes.h>
#include <leapverify/integrations/trainer/token_batch.h>
#include <leapverify/runtime/leap_verify.h>

#include <string>
#include <vector>

namespace leapverify::trainer {

/// Refers to what the run is made of.
struct StartFacts {
  const Config& config;
  std::string folder;
  const data::Text& text;
  const torch::nn::Module& model;
  const PassSettings& settings;
  const LeapVerify& leaps;
  const distributed::Launch& launch;
  /// Where a resumed run goes on, and what its config changed.
  std::int64_t step = 0;
  const std::vector<ConfigChange>& changes;
};

std::vector<std::string> start_lines(const StartFacts& facts);

}  // namespace leapverify::trainer

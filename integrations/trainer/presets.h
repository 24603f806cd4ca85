// Ready-made configs by name.
#pragma once

#include <string>
#include <vector>

namespace leapverify::trainer {

struct Preset {
  const char* name;
  /// One line.
  const char* description;
  const char* yaml;
};

const std::vector<Preset>& presets();
std::vector<std::string> preset_names();

}  // namespace leapverify::trainer

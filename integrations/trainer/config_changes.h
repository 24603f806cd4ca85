// What is other in the config of a resumed run: for the person who resumes it, and for its trace.
#pragma once

#include <leapverify/integrations/trainer/config.h>
#include <leapverify/runtime/policy/collective.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace leapverify::trainer {

/// A key whose value differs; both as YAML.
struct ConfigChange {
  std::string key;
  std::string from;
  std::string to;
};

/// Every key with its value as in to_yaml(), in valid UTF-8 for JSON: the name of a file need not be.
std::map<std::string, std::string> config_values(Config config);

/// Of the keys that `before` gives, as config_values() does.
std::vector<ConfigChange> config_changes(const std::map<std::string, std::string>& before,
                                         const Config& now);

/// Throws RankMismatch where ranks have different configs, with a key that is other than the first rank's.
void require_same_config(Collective& ranks, const Config& config);

/// Throws InvalidOption for a change of what a run keeps to its end.
void refuse_another_model(const std::vector<ConfigChange>& changes);

/// `now` with the values from which the changes went.
Config without_changes(Config now, const std::vector<ConfigChange>& changes);

/// The event `config` of the trace.
std::string config_event(std::int64_t step, const std::vector<ConfigChange>& changes);

}  // namespace leapverify::trainer

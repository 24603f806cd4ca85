// The configuration of a training run: every key, its default and its legal values. Reading,
// overriding, explaining and recording a config all follow from describe().
#pragma once

#include <leapverify/integrations/data/data_options.h>
#include <leapverify/integrations/models/model_options.h>
#include <leapverify/integrations/trainer/schedule.h>
#include <leapverify/runtime/muon_rate.h>
#include <leapverify/runtime/policy/options.h>
#include <leapverify/runtime/policy/speculation.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leapverify::trainer {

enum class DeviceChoice { kAuto, kCpu, kCuda };
enum class WorkerDevice { kCpu, kCuda };
/// kTf32: fp32 whose matrix products on CUDA round their factors to 10 bits; kBf16: autocast.
enum class Precision { kFp32, kTf32, kBf16 };
enum class OptimizerName { kAdamW, kMuon, kSgd };

}  // namespace leapverify::trainer

namespace leapverify {
template <>
struct EnumNames<trainer::DeviceChoice> {
  static constexpr Named<trainer::DeviceChoice> names[] = {{trainer::DeviceChoice::kAuto, "auto"},
                                                           {trainer::DeviceChoice::kCpu, "cpu"},
                                                           {trainer::DeviceChoice::kCuda, "cuda"}};
};
template <>
struct EnumNames<trainer::WorkerDevice> {
  static constexpr Named<trainer::WorkerDevice> names[] = {{trainer::WorkerDevice::kCpu, "cpu"},
                                                           {trainer::WorkerDevice::kCuda, "cuda"}};
};
template <>
struct EnumNames<trainer::Precision> {
  static constexpr Named<trainer::Precision> names[] = {{trainer::Precision::kFp32, "fp32"},
                                                        {trainer::Precision::kTf32, "tf32"},
                                                        {trainer::Precision::kBf16, "bf16"}};
};
template <>
struct EnumNames<trainer::OptimizerName> {
  static constexpr Named<trainer::OptimizerName> names[] = {
      {trainer::OptimizerName::kAdamW, "adamw"},
      {trainer::OptimizerName::kMuon, "muon"},
      {trainer::OptimizerName::kSgd, "sgd"}};
};
}  // namespace leapverify

namespace leapverify::trainer {

struct RunOptions {
  std::string folder;
  std::int64_t seed = 0;
  std::int64_t steps = 1000;
  std::int64_t log_every = 10;
  std::int64_t eval_every = 100;
  std::int64_t eval_sequences = 64;
  bool eval_average = false;
  double target_loss = 0;
  std::int64_t checkpoint_every = 500;
  std::int64_t keep_checkpoints = 2;
  bool keep_best = false;
  DeviceChoice device = DeviceChoice::kAuto;
  Precision precision = Precision::kFp32;
  bool cuda_graph = false;
  std::int64_t threads = 0;
  std::int64_t sample_bytes = 200;
  std::int64_t profile_steps = 0;

  void describe(FieldVisitor& visitor);
};

/// With gate: next_batch the rule sequential accepts hardly anything on smaller batches.
inline constexpr std::int64_t kBatchToAcceptMuch = 32;

struct BatchOptions {
  std::int64_t sequences = 16;
  std::int64_t accumulate = 1;
  std::int64_t context = 0;
  std::int64_t held_out = 0;

  std::int64_t sequences_of_step() const { return sequences * accumulate; }

  void describe(FieldVisitor& visitor);
};

struct MuonSettings {
  double momentum = 0.95;
  MuonRate rate = MuonRate::kMatchAdamW;
  double lr = 0;

  void describe(FieldVisitor& visitor);
};

struct OptimizerOptions {
  OptimizerName name = OptimizerName::kAdamW;
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.01;
  bool decay_embeddings = true;
  bool decay_vectors = false;
  double momentum = 0.9;
  double clip = 1;
  MuonSettings muon;

  /// Whether a field, by the name it is described under, has an effect on the optimizer named.
  bool uses(const std::string& field) const;

  void describe(FieldVisitor& visitor);
};

/// The wrapper's options; off unless the config says `enabled: true`.
struct LeapVerifyConfig {
  LeapVerifyConfig() { options.enabled = false; }

  OptionsPreset preset = OptionsPreset::kAuto;
  Options options = Options::of(OptionsPreset::kAuto);

  /// Sets all options but `enabled` as the preset has them.
  void apply_preset();

  void describe(FieldVisitor& visitor);
};

struct DistributedOptions {
  double timeout_seconds = 600;

  void describe(FieldVisitor& visitor);
};

struct SpeculationSettings : policy::SpeculationOptions {
  WorkerDevice device = WorkerDevice::kCpu;
  std::int64_t gpu = 1;
  std::int64_t threads = 1;

  void describe(FieldVisitor& visitor);
};

struct Config {
  RunOptions run;
  data::DataOptions data;
  models::ModelOptions model;
  BatchOptions batch;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  DistributedOptions distributed;
  SpeculationSettings speculation;
  LeapVerifyConfig leapverify;

  void describe(FieldVisitor& visitor);
};

/// A config cannot be used; one line with the place, the key, the value and the legal values.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// The defaults, changed by a preset, then by a YAML file, then by overrides such as
/// "optimizer.lr=3e-4"; an empty `preset` or `file` is none. Where one of these gives
/// leapverify.preset, it resets what came before under leapverify, except leapverify.enabled, and
/// then its other keys apply. leapverify.planned_steps is run.steps. Throws ConfigError.
Config load_config(const std::string& preset, const std::string& file,
                   const std::vector<std::string>& overrides);

/// Every key and its value, as YAML that load_config() reads back to the same config.
std::string to_yaml(Config config);

/// Every key with its default, its meaning and its legal values, as commented YAML.
std::string explain_config();

}  // namespace leapverify::trainer

// Thresholds for the regime detector, from a run that was made.
#pragma once

#include <leapverify/kernels/error.h>

#include <filesystem>
#include <string>

namespace leapverify::trainer {

/// A run's trace does not tell thresholds.
class CalibrationError : public Error {
 public:
  using Error::Error;
};

/// The thresholds that the signals in the run's trace have at the percentiles of its config
/// (leapverify.detector.stable_percentile, chaotic_percentile), as YAML that a config takes: those
/// that running percentiles would have reached at the end of the run. Throws FileError where there
/// is no run or no trace, and CalibrationError for fewer signals than burn_in, signals that do not
/// differ, and a trace of other settings than the config's.
std::string calibrate_regimes(const std::filesystem::path& run);

}  // namespace leapverify::trainer

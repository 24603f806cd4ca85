#include <leapverify/integrations/trainer/step_profile.h>
#include <leapverify/kernels/error.h>
#include <torch/csrc/autograd/profiler_kineto.h>
#include <torch/torch.h>

#include <cstdlib>
#include <set>

namespace leapverify::trainer {
namespace {

namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;

void wait_for_gpu() {
  if (torch::cuda::is_available()) torch::cuda::synchronize();
}

}  // namespace

StepProfile::StepProfile() {
  wait_for_gpu();
  // Else it complains where it finds no GPU; its levels end far below.
  if (!torch::cuda::is_available()) ::setenv("KINETO_LOG_LEVEL", "99", /*overwrite=*/0);
  std::set<ActivityType> activities = {ActivityType::CPU};
  if (torch::cuda::is_available()) activities.insert(ActivityType::CUDA);
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
}

StepProfile::~StepProfile() {
  if (recording_) profiler::disableProfiler();
}

void StepProfile::write(const std::filesystem::path& file) {
  wait_for_gpu();
  recording_ = false;
  const auto record = profiler::disableProfiler();
  std::error_code error;
  std::filesystem::remove(file, error);
  if (error) throw Error("cannot write " + file.string() + ": " + error.message());
  record->save(file.string());
  if (!std::filesystem::exists(file)) throw Error("cannot write " + file.string());
}

}  // namespace leapverify::trainer

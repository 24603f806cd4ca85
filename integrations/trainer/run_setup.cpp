#include <leapverify/integrations/trainer/run_setup.h>
#include <leapverify/runtime/torch_model.h>
#include <leapverify/runtime/vector_math.h>

namespace leapverify::trainer {
namespace {

torch::Device choose_device(DeviceChoice choice) {
  const bool available = torch::cuda::is_available();
  if (choice == DeviceChoice::kCuda && !available) {
    throw InvalidOption("run.device", "cuda", "cpu or auto: this machine shows no CUDA device");
  }
  const bool cuda = choice == DeviceChoice::kCuda || (choice == DeviceChoice::kAuto && available);
  return cuda ? torch::Device(torch::kCUDA, 0) : torch::Device(torch::kCPU);
}

void check_batch_norm(const Options& options, torch::nn::Module& model) {
  if (!options.enabled || options.batch_norm == BatchNormPolicy::kKeep) return;
  if (!TorchModel(model).running_statistics().empty()) return;
  throw InvalidOption("leapverify.batch_norm", name_of(options.batch_norm),
                      "keep: the model has no batch norm");
}

}  // namespace

PassSettings pass_settings(const Config& config) {
  const torch::Device device = choose_device(config.run.device);
  if (config.run.precision == Precision::kTf32 && !device.is_cuda()) {
    throw InvalidOption("run.precision", "tf32", "fp32 or bf16: the run is on the CPU");
  }
  at::globalContext().setAllowTF32CuBLAS(config.run.precision == Precision::kTf32);
  const models::ModelSize size = models::model_size(config.model);
  if (config.batch.context > size.context) {
    throw InvalidOption("batch.context", std::to_string(config.batch.context),
                        "at most the " + std::to_string(size.context) + " that the model takes");
  }
  models::AutocastState autocast;
  autocast.enabled = config.run.precision == Precision::kBf16;
  const std::int64_t context = config.batch.context > 0 ? config.batch.context : size.context;
  return {device, autocast, context, config.batch.sequences};
}

std::shared_ptr<models::PretrainedModel> make_seeded_model(const Config& config,
                                                           torch::Device device) {
  resolve_vector_math();
  if (config.run.threads > 0) torch::set_num_threads(static_cast<int>(config.run.threads));
  torch::manual_seed(static_cast<std::uint64_t>(config.run.seed));
  std::shared_ptr<models::PretrainedModel> model = models::make_model(config.model);
  check_batch_norm(config.leapverify.options, *model);
  model->to(device);
  model->train();
  return model;
}

}  // namespace leapverify::trainer

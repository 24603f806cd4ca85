#include <leapverify/integrations/trainer/run_setup.h>
#include <leapverify/runtime/torch_model.h>
#include <leapverify/runtime/vector_math.h>

#include <algorithm>
#include <thread>

namespace leapverify::trainer {
namespace {

torch::Device choose_device(DeviceChoice choice, const distributed::Launch& launch) {
  using distributed::Launcher;
  // A single process may be on a CPU, whatever started it.
  if (launch.launcher == Launcher::kTorchrun &&
      (launch.size > 1 || choice == DeviceChoice::kCuda)) {
    if (choice == DeviceChoice::kCpu) {
      throw InvalidOption("run.device", "cpu",
                          "auto or cuda: torchrun starts one rank a GPU, ranks on CPUs are started "
                          "by mpirun");
    }
    return torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(launch.local_rank));
  }
  if (launch.launcher == Launcher::kMpi && launch.size > 1) {
    if (choice == DeviceChoice::kCuda) {
      throw InvalidOption("run.device", "cuda",
                          "auto or cpu: ranks of mpirun run on CPUs, torchrun starts one a GPU");
    }
    return torch::Device(torch::kCPU);
  }
  const bool available = torch::cuda::is_available();
  if (choice == DeviceChoice::kCuda && !available) {
    throw InvalidOption("run.device", "cuda", "cpu or auto: this machine shows no CUDA device");
  }
  const bool cuda = choice == DeviceChoice::kCuda || (choice == DeviceChoice::kAuto && available);
  return cuda ? torch::Device(torch::kCUDA, 0) : torch::Device(torch::kCPU);
}

void check_cuda_graph(const Config& config, torch::Device device,
                      const distributed::Launch& launch) {
  const auto legal_where = [](bool legal, const char* why) {
    if (!legal) throw InvalidOption("run.cuda_graph", "true", std::string("false") + why);
  };
  legal_where(device.is_cuda(), ": the run is on the CPU");
  legal_where(launch.size == 1, " with several ranks, which sum gradients in between");
  legal_where(!config.model.activation_checkpointing, " with model.activation_checkpointing");
  legal_where(
      !config.leapverify.options.enabled ||
          config.leapverify.options.verification.when == policy::When::kImmediate,
      " with leapverify.verification.when other than immediate, which keeps gradients aside");
}

void check_batch_norm(const Options& options, torch::nn::Module& model) {
  if (!options.enabled || options.batch_norm == BatchNormPolicy::kKeep) return;
  if (!TorchModel(model).running_statistics().empty()) return;
  throw InvalidOption("leapverify.batch_norm", name_of(options.batch_norm),
                      "keep: the model has no batch norm");
}

}  // namespace

PassSettings pass_settings(const Config& config, const distributed::Launch& launch) {
  const torch::Device device = choose_device(config.run.device, launch);
  if (config.batch.sequences % launch.size != 0) {
    throw InvalidOption(
        "batch.sequences", std::to_string(config.batch.sequences),
        "a multiple of " + std::to_string(launch.size) + ", the number of ranks, which share them");
  }
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
  if (config.run.cuda_graph) check_cuda_graph(config, device, launch);
  return {device,
          autocast,
          context,
          config.batch.sequences / launch.size,
          config.batch.held_out,
          config.run.cuda_graph};
}

std::shared_ptr<models::PretrainedModel> make_seeded_model(const Config& config,
                                                           torch::Device device,
                                                           const distributed::Launch& launch) {
  resolve_vector_math();
  if (config.run.threads > 0) {
    torch::set_num_threads(static_cast<int>(config.run.threads));
  } else if (launch.local_size > 1) {
    const auto cores = static_cast<int>(std::thread::hardware_concurrency());
    torch::set_num_threads(std::max(1, cores / launch.local_size));
  }
  torch::manual_seed(static_cast<std::uint64_t>(config.run.seed));
  std::shared_ptr<models::PretrainedModel> model = models::make_model(config.model);
  check_batch_norm(config.leapverify.options, *model);
  model->to(device);
  model->train();
  seed_rank(config, launch, 0);
  return model;
}

void seed_rank(const Config& config, const distributed::Launch& launch, std::int64_t step) {
  if (launch.rank == 0 && step == 0) return;
  // Far from the seeds that people choose.
  const std::uint64_t own =
      (static_cast<std::uint64_t>(launch.rank) << 32) + static_cast<std::uint64_t>(step);
  torch::manual_seed(static_cast<std::uint64_t>(config.run.seed) + (own << 8));
}

}  // namespace leapverify::trainer

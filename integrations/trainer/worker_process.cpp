#include <fcntl.h>
#include <leapverify/integrations/trainer/base_optimizer.h>
#include <leapverify/integrations/trainer/run_setup.h>
#include <leapverify/integrations/trainer/training_steps.h>
#include <leapverify/integrations/trainer/worker_files.h>
#include <leapverify/integrations/trainer/worker_process.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/scaled_rates.h>
#include <leapverify/runtime/torch_optimizer.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

namespace leapverify::trainer {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

class WorkerGone : public WorkerError {
 public:
  WorkerGone() : WorkerError("the other side is gone") {}
};

// What is said to a worker.
constexpr const char* kTrain = "train";
constexpr const char* kStop = "stop";
// How it answers kTrain, if not with what went wrong.
constexpr const char* kDone = "done";
constexpr const char* kStopped = "stopped";

/// Lines over a socket.
class Line {
 public:
  explicit Line(int descriptor) : descriptor_(descriptor) {}

  /// Never waits: what the other side has not heard are a few words. Throws WorkerGone.
  void say(const std::string& words) const {
    const std::string line = words + "\n";
    if (::send(descriptor_, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT) !=
        static_cast<ssize_t>(line.size())) {
      throw WorkerGone();
    }
  }

  /// The next line, or none until the deadline. Throws WorkerGone.
  std::optional<std::string> hear(Clock::time_point deadline) {
    while (true) {
      if (const std::size_t end = heard_.find('\n'); end != std::string::npos) {
        std::string line = heard_.substr(0, end);
        heard_.erase(0, end + 1);
        return line;
      }
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      pollfd waiting{descriptor_, POLLIN, 0};
      const int ready = ::poll(&waiting, 1, static_cast<int>(std::clamp<long>(left, 0, 1 << 30)));
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) return std::nullopt;
      std::array<char, 4096> bytes{};
      const ssize_t count = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
      if (count <= 0) throw WorkerGone();
      heard_.append(bytes.data(), static_cast<std::size_t>(count));
    }
  }

 private:
  int descriptor_;
  std::string heard_;
};

constexpr auto kForever = std::chrono::hours(24 * 365);

Config config_of_worker(Config config) {
  config.run.device =
      config.speculation.device == WorkerDevice::kCuda ? DeviceChoice::kCuda : DeviceChoice::kCpu;
  config.run.threads = config.speculation.threads;
  config.run.cuda_graph = false;
  config.leapverify.options.enabled = false;
  return config;
}

std::string last_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string line, last;
  while (std::getline(stream, line)) {
    if (!line.empty()) last = line;
  }
  return last;
}

class WorkerProcess : public SpeculativeWorker {
 public:
  WorkerProcess(const Config& config, fs::path folder)
      : folder_(std::move(folder)),
        timeout_(static_cast<std::int64_t>(config.speculation.timeout_seconds * 1000)) {
    // What a run that was killed has left.
    if (fs::exists(folder_)) remove_tree(folder_);
    create_folders(folder_);
    replace_file(folder_ / "config.yaml", to_yaml(config_of_worker(config)));
    start_process();
  }

  ~WorkerProcess() override {
    end_process();
    try {
      remove_tree(folder_);
    } catch (const std::exception&) {
      // It lies in the run folder, where the next worker removes it.
    }
  }
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  void start(const SpeculativeJob& job) override {
    // Who was told to stop answers soon, and then reads no file any more.
    hear_answer(timeout_);
    write_job(folder_, job);
    try {
      line_->say(kTrain);
      unanswered_ = true;
    } catch (const WorkerGone&) {
      throw WorkerError(how_it_ended());
    }
  }

  SpeculativeResult finish(std::chrono::milliseconds timeout) override {
    const std::string answer = hear_answer(timeout);
    if (answer != kDone) throw WorkerError("the worker: " + answer);
    return read_result(folder_);
  }

  void cancel() noexcept override {
    try {
      line_->say(kStop);
    } catch (const std::exception&) {
      // The next job tells.
    }
  }

 private:
  /// To the job begun last; empty where that has been heard already.
  std::string hear_answer(std::chrono::milliseconds timeout) {
    if (!unanswered_) return "";
    try {
      const std::optional<std::string> line = line_->hear(Clock::now() + timeout);
      if (!line) {
        throw WorkerError("the worker did not answer within " +
                          number_text(static_cast<double>(timeout.count()) / 1000) + " s");
      }
      unanswered_ = false;
      return *line;
    } catch (const WorkerGone&) {
      throw WorkerError(how_it_ended());
    }
  }

  void start_process() {
    std::array<int, 2> sockets{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
      throw WorkerError(std::string("no worker: ") + std::strerror(errno));
    }
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, (folder_ / "log.txt").c_str(),
                                       O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, sockets[1], kDescriptor);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    // Ctrl-C goes to the whole group, and the run is to end first.
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    std::array<std::string, 4> words = {"leapverify", "worker", folder_.string(),
                                        std::to_string(kDescriptor)};
    std::array<char*, 5> arguments = {words[0].data(), words[1].data(), words[2].data(),
                                      words[3].data(), nullptr};
    // Also where the file was replaced since.
    const int error = ::posix_spawn(&process_, "/proc/self/exe", &actions, &attributes,
                                    arguments.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(sockets[1]);
    socket_ = sockets[0];
    if (error != 0) {
      ::close(socket_);
      process_ = -1;
      throw WorkerError(std::string("no worker: ") + std::strerror(error));
    }
    line_.emplace(socket_);
  }

  /// After its end was noticed.
  std::string how_it_ended() {
    int status = 0;
    const auto deadline = Clock::now() + std::chrono::seconds(2);
    pid_t ended = 0;
    while (ended == 0 && Clock::now() < deadline) {
      ended = ::waitpid(process_, &status, WNOHANG);
      if (ended == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (ended != process_) return "the worker is gone and does not end";
    process_ = -1;
    if (WIFSIGNALED(status)) {
      return "the worker was killed by signal " + std::to_string(WTERMSIG(status));
    }
    return "the worker ended with status " + std::to_string(WEXITSTATUS(status)) + ": " +
           last_line(folder_ / "log.txt");
  }

  void end_process() noexcept {
    if (socket_ >= 0) ::close(socket_);
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
  }

  static constexpr int kDescriptor = 3;

  fs::path folder_;
  std::chrono::milliseconds timeout_;
  pid_t process_ = -1;
  int socket_ = -1;
  std::optional<Line> line_;
  bool unanswered_ = false;
};

/// One process, on the GPU that the config gives where it is to be one.
distributed::Launch launch_of_worker(const Config& config) {
  distributed::Launch launch;
  if (config.run.device == DeviceChoice::kCuda) {
    launch.launcher = distributed::Launcher::kTorchrun;
    launch.local_rank = static_cast<int>(config.speculation.gpu);
  }
  return launch;
}

/// What a worker trains with.
class WorkerTraining {
 public:
  explicit WorkerTraining(const Config& config)
      : config_(config),
        settings_(pass_settings(config, launch_of_worker(config))),
        text_(config.data, models::model_size(config.model).vocabulary, settings_.context,
              config.batch.sequences_of_step()),
        model_(make_seeded_model(config, settings_.device, {})),
        base_(make_base_optimizer(config.optimizer, *model_)),
        optimizer_(*base_),
        steps_(config_, settings_, text_, *model_, *base_) {}

  /// Empty where `unwanted` says so meanwhile.
  std::optional<SpeculativeResult> run(const SpeculativeJob& job,
                                       const std::function<bool()>& unwanted) {
    begin(job);
    for (std::int64_t i = 0; i < job.steps; ++i) {
      if (unwanted()) return std::nullopt;
      steps_.backward();
      const ScaledRates rates(optimizer_, job.rate_scale);
      optimizer_.step(nullptr);
      if (!std::isfinite(steps_.loss().item<double>())) throw Error("its loss is not finite");
    }
    SpeculativeResult result;
    for (const torch::Tensor& weight : optimizer_.trained())
      result.weights.push_back(weight.detach().cpu());
    result.optimizer = export_state(*base_);
    for (auto& [name, tensor] : result.optimizer.tensors) tensor = tensor.cpu();
    return result;
  }

 private:
  void begin(const SpeculativeJob& job) {
    const torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> weights = optimizer_.trained();
    LV_CHECK(weights.size() == job.weights.size(), "a job for another model");
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i].copy_(job.weights[i]);
    import_state(*base_, job.optimizer, "speculative job");
    steps_.seek(job.position);
    // Its own random numbers, the same in a rerun.
    seed_rank(config_, {}, job.step + 1);
  }

  Config config_;
  PassSettings settings_;
  data::Text text_;
  std::shared_ptr<models::PretrainedModel> model_;
  std::unique_ptr<torch::optim::Optimizer> base_;
  TorchOptimizer optimizer_;
  TrainingSteps steps_;
};

}  // namespace

std::unique_ptr<SpeculativeWorker> start_worker_process(const Config& config,
                                                        const fs::path& folder) {
  return std::make_unique<WorkerProcess>(config, folder);
}

void serve_worker(const fs::path& folder, int in) {
  // Even while a device call hangs.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Line line(in);
  WorkerTraining training(load_config("", (folder / "config.yaml").string(), {}));
  std::optional<std::string> next;
  const auto hear = [&](Clock::time_point deadline) {
    if (!next) next = line.hear(deadline);
    return next.has_value();
  };
  try {
    while (true) {
      while (!hear(Clock::now() + kForever)) {
      }
      // It may have been done before it was to stop.
      if (*std::exchange(next, std::nullopt) == kStop) continue;
      try {
        // Whatever is said meanwhile ends the job.
        const auto unwanted = [&] { return hear(Clock::now()); };
        const std::optional<SpeculativeResult> result = training.run(read_job(folder), unwanted);
        if (result) write_result(folder, *result);
        line.say(result ? kDone : kStopped);
      } catch (const WorkerGone&) {
        throw;
      } catch (const std::exception& error) {
        line.say(error_text(error));
      }
    }
  } catch (const WorkerGone&) {
    // The run is over.
  }
}

}  // namespace leapverify::trainer

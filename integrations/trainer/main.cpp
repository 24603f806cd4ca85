// The program `leapverify`: train, resume, export, report, bench, explain-config,
// calibrate-regimes.
#include <leapverify/integrations/trainer/calibrate.h>
#include <leapverify/integrations/trainer/export.h>
#include <leapverify/integrations/trainer/hand_over.h>
#include <leapverify/integrations/trainer/presets.h>
#include <leapverify/integrations/trainer/progress.h>
#include <leapverify/integrations/trainer/run_folder.h>
#include <leapverify/integrations/trainer/trainer.h>
#include <leapverify/integrations/trainer/worker_process.h>
#include <leapverify/runtime/error_text.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace {

namespace fs = std::filesystem;
namespace distributed = leapverify::distributed;
namespace trainer = leapverify::trainer;

struct TrainArguments {
  std::string config;
  std::string preset;
  std::string data;
  std::string run;
  std::vector<std::string> overrides;
};

/// LeapVerify's own words as they are; those of others cut to one plain line.
std::string message_of(const std::exception& error) {
  const auto* own = dynamic_cast<const leapverify::Error*>(&error);
  return own != nullptr ? own->what() : leapverify::error_text(error);
}

/// Every training step frees its activations and asks for as much again. Given back to the system
/// in between, each page would have to be zeroed anew: some 6 % of a step of the demo.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most glibc takes
  mallopt(M_TRIM_THRESHOLD, 2047 << 20);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

std::string preset_list() {
  std::string list;
  for (const trainer::Preset& preset : trainer::presets()) {
    list += std::string("\n  ") + preset.name + ": " + preset.description;
  }
  return list;
}

void print_summary(const trainer::Summary& summary, const trainer::Config& config,
                   const fs::path& run) {
  if (summary.interrupted && summary.step == 0) {
    std::printf(
        "\nstopped before the first step: there is no checkpoint to resume from; remove '%s' to "
        "train into it anew\n",
        run.c_str());
    return;
  }
  if (summary.interrupted) {
    std::printf("\nstopped at step %lld; continue with: leapverify resume '%s'\n",
                static_cast<long long>(summary.step), run.c_str());
    return;
  }
  std::printf("\n%lld steps, %s tokens in %s, at most %s bytes of memory\n",
              static_cast<long long>(summary.step),
              trainer::count_text(static_cast<double>(summary.tokens)).c_str(),
              trainer::duration_text(summary.seconds).c_str(),
              trainer::count_text(static_cast<double>(summary.peak_memory_bytes)).c_str());
  if (summary.reached_target) {
    std::printf("reached run.target_loss = %g before the last of %lld steps\n",
                config.run.target_loss, static_cast<long long>(config.run.steps));
  }
  std::printf("train loss %.4f, validation loss %.4f nats per token", summary.train_loss,
              summary.validation_loss);
  if (summary.average_validation_loss) {
    std::printf(", %.4f at the average of the recent weights", *summary.average_validation_loss);
  }
  std::printf("\n");
  if (summary.best_step) {
    std::printf("best validation loss: %.4f at step %lld, checkpoints/step-%lld\n",
                summary.best_validation_loss, static_cast<long long>(*summary.best_step),
                static_cast<long long>(*summary.best_step));
  }
  if (config.leapverify.options.enabled && config.leapverify.options.rate.free) {
    std::printf("the learning rate ended at %.3g\n", summary.learning_rate);
    if (config.leapverify.options.rate.looks > 0) {
      std::printf(
          "looks at held-out loss: %lld, after which it went back: %lld; %.2f %% of all cost\n",
          static_cast<long long>(summary.ledger.looks),
          static_cast<long long>(summary.ledger.went_back), 100 * summary.overhead);
    }
    if (!summary.off_reason.empty()) {
      std::printf("no looks were made after this: %s\n", summary.off_reason.c_str());
    }
  } else if (config.leapverify.options.enabled) {
    const leapverify::policy::Ledger& ledger = summary.ledger;
    std::printf(
        "leaps: %lld tried, %lld accepted, about %.1f steps saved; %lld forward passes of a "
        "sequence, %.2f %% of all cost",
        static_cast<long long>(ledger.tries), static_cast<long long>(ledger.accepted),
        ledger.steps_saved, static_cast<long long>(ledger.forwards()), 100 * summary.overhead);
    if (ledger.raising_forwards > 0) {
      std::printf(" (%lld passes in tries that raised the learning rate, outside the cap)",
                  static_cast<long long>(ledger.raising_forwards));
    }
    std::printf("\n");
    if (ledger.false_accepts > 0) {
      std::printf(
          "by chance alone at most %.2f candidates of no gain are expected to be accepted\n",
          ledger.false_accepts);
    }
    if (config.leapverify.options.adapts_rate()) {
      std::printf("the learning rate ended at %.3g times its schedule\n",
                  summary.learning_rate_scale);
    }
    if (!summary.off_reason.empty()) {
      std::printf("leaps were switched off during the run: %s\n", summary.off_reason.c_str());
    }
  }
  if (summary.handoffs) {
    std::printf("a worker handed over %lld times, %lld of the steps\n",
                static_cast<long long>(*summary.handoffs),
                static_cast<long long>(*summary.handoffs * config.speculation.steps));
  }
  if (!summary.sample.empty()) {
    std::printf("\nthe model writes:\n%s\n", summary.sample.c_str());
  }
  std::printf("\nrun folder: %s\n", run.c_str());
}

/// Said already.
struct Said {};

void stop_on_signals() {
  std::signal(SIGINT, [](int) { trainer::Trainer::request_stop(); });
  std::signal(SIGTERM, [](int) { trainer::Trainer::request_stop(); });
}

/// What all ranks must have been told alike beside the config.
std::string text_of(const std::string& folder, const std::optional<trainer::Resume>& resume) {
  if (!resume) return "train " + folder;
  return "resume " + folder + (resume->step ? " at " + std::to_string(*resume->step) : "") +
         (resume->other_ranks ? " by others" : "");
}

/// Loads the config, meets the other ranks where there are any, and trains. What fails on all ranks
/// before training is the first's to say.
void run(const std::function<trainer::Config()>& load, const std::string& folder,
         const std::optional<trainer::Resume>& resume) {
  std::optional<trainer::Config> loaded;
  std::exception_ptr failure;
  try {
    loaded = load();
    // Absolute, so that the run can be resumed from anywhere.
    for (std::string* path : {&loaded->data.path, &loaded->model.folder}) {
      if (!path->empty()) *path = fs::absolute(*path).string();
    }
  } catch (...) {
    failure = std::current_exception();
  }
  const double seconds = loaded.value_or(trainer::Config()).distributed.timeout_seconds;
  const distributed::Launch launch = distributed::read_launch();
  // Ranks that wait for each other can be ended meanwhile.
  if (launch.size == 1) stop_on_signals();
  const bool first = launch.rank == 0;
  distributed::Ranks ranks;
  std::unique_ptr<trainer::Trainer> loop;
  std::string name;
  try {
    ranks = distributed::join(launch,
                              std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000)));
    stop_on_signals();
    leapverify::succeed_together(*ranks.communicator, [&] {
      if (failure) std::rethrow_exception(failure);
    });
    leapverify::require_same(*ranks.communicator, "command line", text_of(folder, resume));
    name = folder.empty() ? loaded->run.folder : folder;
    if (name.empty() && first) name = trainer::fresh_run_name().string();
    name = leapverify::broadcast(*ranks.communicator, name);
    loop = std::make_unique<trainer::Trainer>(*loaded, name, resume, ranks);
  } catch (const std::exception& error) {
    const bool lost = dynamic_cast<const leapverify::CollectiveError*>(&error) != nullptr &&
                      dynamic_cast<const leapverify::RankMismatch*>(&error) == nullptr;
    if (first || lost) throw;
    throw Said();
  }
  distributed::Communicator& communicator = *ranks.communicator;
  try {
    const trainer::Summary summary = loop->train();
    if (first) print_summary(summary, *loaded, name);
  } catch (const std::exception& error) {
    if (communicator.size() == 1) throw;
    // What fails on all the first says, and then its launcher ends the others.
    const bool stopped_before = trainer::Trainer::stop_is_requested();
    for (int i = 0; !first && i < 20; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      if (!stopped_before && trainer::Trainer::stop_is_requested()) throw Said();
    }
    std::fprintf(stderr, "leapverify: rank %d: %s\n", communicator.rank(),
                 message_of(error).c_str());
    communicator.abort();
    throw Said();
  }
}

void train(const TrainArguments& arguments) {
  const auto load = [&] {
    trainer::Config config =
        trainer::load_config(arguments.preset, arguments.config, arguments.overrides);
    if (!arguments.data.empty()) config.data.path = arguments.data;
    return config;
  };
  run(load, arguments.run, std::nullopt);
}

void resume(const std::string& folder, const trainer::Resume& from,
            const std::vector<std::string>& overrides) {
  run([&] { return trainer::load_config("", trainer::config_of_run(folder).string(), overrides); },
      folder, from);
}

/// Throws Error for a first word that is no command of `app`.
void check_command(const CLI::App& app, const std::string& word) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    if (command->get_name() == word) return;
    if (command->get_group().empty()) continue;
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  throw leapverify::Error("'" + word + "': no such command, expected one of " + names);
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  CLI::App app("LeapVerify trains language models and leaps ahead when held-out loss says it pays");
  app.require_subcommand(1);
  app.set_version_flag("--version", LEAPVERIFY_VERSION);

  TrainArguments arguments;
  CLI::App* train_command = app.add_subcommand("train", "Train a model into a new run folder");
  train_command->add_option("config", arguments.config, "YAML file; see explain-config");
  train_command->add_option("--preset", arguments.preset,
                            "Named settings below the file's: " + preset_list());
  train_command->add_option("--data", arguments.data, "Text or token file or folder (data.path)");
  train_command->add_option("--run", arguments.run, "New run folder, runs/DATE-TIME if not given");
  train_command
      ->add_option("--set", arguments.overrides,
                   "an option over file and preset; may be given again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  train_command->footer(trainer::explain_config());
  train_command->callback([&] { train(arguments); });

  std::string folder;
  trainer::Resume from;
  std::vector<std::string> resume_overrides;
  CLI::App* resume_command =
      app.add_subcommand("resume", "Continue a run from its last checkpoint");
  resume_command->add_option("run", folder, "Run folder")->required();
  resume_command->add_option(
      "--step", from.step,
      "Go back to the checkpoint of this step; later lines of trace and metrics are removed");
  resume_command
      ->add_option("--set", resume_overrides, "an option over the run's config; may be given again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  resume_command->add_flag("--other-ranks", from.other_ranks,
                           "Go on with another number of ranks than the run had");
  resume_command->callback([&] { resume(folder, from, resume_overrides); });

  std::string export_folder;
  std::optional<std::int64_t> step;
  CLI::App* export_command = app.add_subcommand(
      "export", "Write the model of a run as a Hugging Face folder, which transformers reads");
  export_command->add_option("run", folder, "Run folder")->required();
  export_command->add_option("folder", export_folder, "New folder")->required();
  export_command->add_option("--step", step, "Of this step's checkpoint, not of the last");
  bool merged = false;
  export_command->add_flag(
      "--merged", merged,
      "Add adapters to the weights; without it they alone are written, for PEFT");
  export_command->callback([&] { trainer::export_model(folder, step, export_folder, merged); });

  std::vector<std::string> reported;
  std::string report_file;
  CLI::App* report_command = app.add_subcommand(
      "report",
      "One HTML page of runs: losses, leaps, costs, a comparison. Made by the Python package "
      "leapverify of the python3 on PATH, or of the interpreter that LEAPVERIFY_PYTHON names");
  report_command->add_option("run", reported, "Run folders, or traces alone")->required();
  report_command->add_option("-o,--output", report_file,
                             "Default: report.html in the folder of a single run, else here");
  report_command->callback([&] {
    if (!report_file.empty()) reported.insert(reported.end(), {"-o", report_file});
    trainer::become_report(reported);
  });

  std::vector<std::string> benches;
  CLI::App* bench_command = app.add_subcommand("bench",
                                               "Measure on this machine: scripts/bench.sh of the "
                                               "source tree that this program was built in; "
                                               "'bench help' lists what");
  bench_command->add_option("what", benches, "One measurement; all that are quick if not given");
  bench_command->callback([&] { trainer::become_bench(benches); });

  // What speculative workers are; the program starts them itself.
  int descriptor = 0;
  CLI::App* worker_command = app.add_subcommand("worker", "")->group("");
  worker_command->add_option("folder", folder)->required();
  worker_command->add_option("descriptor", descriptor)->required();
  worker_command->callback([&] { trainer::serve_worker(folder, descriptor); });

  CLI::App* explain_command =
      app.add_subcommand("explain-config", "Every key with its default, legal values and meaning");
  explain_command->callback([] { std::printf("%s", trainer::explain_config().c_str()); });

  CLI::App* calibrate_command =
      app.add_subcommand("calibrate-regimes",
                         "Thresholds of the regime detector from the signals of a run, as YAML for "
                         "the config of others");
  calibrate_command->add_option("run", folder, "Run folder")->required();
  calibrate_command->callback(
      [&] { std::printf("%s", trainer::calibrate_regimes(folder).c_str()); });

  try {
    if (argc > 1 && argv[1][0] != '-') check_command(app, argv[1]);
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const Said&) {
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "leapverify: %s\n", message_of(error).c_str());
    return 1;
  }
  return 0;
}

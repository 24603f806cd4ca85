#include <leapverify/integrations/data/tokenizer_file.h>
#include <leapverify/integrations/trainer/progress.h>
#include <leapverify/integrations/trainer/start_lines.h>

namespace leapverify::trainer {
namespace {

using Lines = std::vector<std::string>;

void add(Lines& lines, const std::string& words) { lines.push_back("             " + words); }

/// Ways to try and to follow leaps other than the default, as in ", when raced, cascade 4".
std::string ways_text(const Options& options) {
  const Options usual;
  std::string text;
  const auto add = [&text](const char* key, const std::string& value) {
    text += std::string(", ") + key + " " + value;
  };
  if (options.on_accept != usual.on_accept) add("on_accept", name_of(options.on_accept));
  if (options.verification.when != usual.verification.when) {
    add("when", name_of(options.verification.when));
  }
  if (options.gate != usual.gate) add("gate", name_of(options.gate));
  if (options.controller.cascade != usual.controller.cascade) {
    add("cascade", std::to_string(options.controller.cascade));
  }
  return text;
}

/// "10.7M parameters, 0.2M of them trained, in bf16 on cuda:0, 16 threads".
std::string model_text(const StartFacts& facts) {
  std::int64_t parameters = 0;
  std::int64_t trained = 0;
  for (const torch::Tensor& parameter : facts.model.parameters()) {
    parameters += parameter.numel();
    if (parameter.requires_grad()) trained += parameter.numel();
  }
  const Precision precision = facts.config.run.precision;
  return count_text(static_cast<double>(parameters)) + " parameters" +
         (trained == parameters
              ? ""
              : ", " + count_text(static_cast<double>(trained)) + " of them trained,") +
         (precision == Precision::kFp32 ? "" : std::string(" in ") + name_of(precision)) + " on " +
         facts.settings.device.str() + ", " + std::to_string(torch::get_num_threads()) + " threads";
}

/// Where the data are hardly what a pretrained model was trained on.
void warn_of_tokens(Lines& lines, const StartFacts& facts) {
  const std::filesystem::path model = facts.config.model.folder;
  const std::filesystem::path data = facts.config.data.path;
  constexpr const char* kFile = "tokenizer.json";
  if (facts.text.is_bytes()) {
    add(lines,
        "text is read as bytes, which are hardly the tokens of this model: scripts/prepare_data.py "
        "makes these");
  } else if (data::vocabularies_differ(data / kFile, model / kFile)) {
    add(lines, "the tokens are not this model's: " + (data / kFile).string() + " and " +
                   (model / kFile).string() + " have other vocabularies");
  }
}

/// Why hardly anything or nothing will be tried or accepted, where that can be told beforehand.
void warn_of_leaps(Lines& lines, const StartFacts& facts) {
  const Options& options = facts.config.leapverify.options;
  const std::int64_t sequences = facts.config.batch.sequences_of_step();
  const TryCost cost = facts.leaps.try_cost(sequences / facts.launch.size);
  const std::string price = std::to_string(cost.least) +
                            " forward passes of a sequence, and leapverify.max_overhead = " +
                            number_text(options.controller.max_overhead) + " allows " +
                            std::to_string(static_cast<std::int64_t>(cost.allowed));
  if (options.rate.free && cost.looks == 0 && options.rate.looks > 0) {
    add(lines, "held-out loss is not looked at, so that the run cannot go back: one look takes " +
                   price + "; raise it");
  } else if (const std::string reason = options.no_try_reason(); !reason.empty()) {
    add(lines, "no leap will be tried: " + reason);
  } else if (static_cast<double>(cost.least) > cost.allowed) {
    add(lines, "nothing will be tried: that takes at least " + price);
  } else if (options.gate == GateSource::kNextBatch &&
             options.verification.rule == policy::Rule::kSequential &&
             sequences < kBatchToAcceptMuch) {
    add(lines, "hardly anything will be accepted: batch.sequences · batch.accumulate is " +
                   std::to_string(sequences) +
                   ", and gate: next_batch with the rule sequential wants at least " +
                   std::to_string(kBatchToAcceptMuch));
  }
}

/// "8 looks at held-out loss".
std::string looks_text(const StartFacts& facts) {
  if (facts.config.leapverify.options.rate.looks == 0) return "nothing is verified";
  const std::int64_t looks = facts.leaps.try_cost(facts.config.batch.sequences_of_step()).looks;
  return std::to_string(looks) + (looks == 1 ? " look" : " looks") + " at held-out loss";
}

void describe_leaps(Lines& lines, const StartFacts& facts) {
  const Options& options = facts.config.leapverify.options;
  const std::string how = options.rate.free ? "free rate, ends at the average, " + looks_text(facts)
                                            : std::string(name_of(options.predictor.kind)) + ", " +
                                                  name_of(options.verification.rule) + ", mode " +
                                                  name_of(options.mode) + ways_text(options);
  lines.push_back("leapverify   " + how + ", " +
                  count_text(static_cast<double>(facts.leaps.memory_bytes())) +
                  " bytes of extra memory");
  warn_of_leaps(lines, facts);
  if (facts.config.run.eval_average && options.reference == Reference::kCurrent) {
    add(lines,
        "run.eval_average has no effect: no average is kept with leapverify.reference: current");
  }
  if (facts.config.run.eval_average && options.rate.free) {
    add(lines,
        "run.eval_average has no effect: with a free rate validation is at the average in any "
        "case");
  }
  if (options.detector.signal == SignalKind::kActivationCosine && options.probes == 0) {
    add(lines,
        "no regime will be told: detector.signal: activation_cosine needs leapverify.probes, "
        "delta_cosine does not");
  }
}

}  // namespace

std::vector<std::string> start_lines(const StartFacts& facts) {
  const data::TextSummary& text = facts.text.summary();
  Lines lines;
  lines.push_back("run folder   " + facts.folder);
  lines.push_back("data         " + std::to_string(text.files) + " files, " +
                  count_text(static_cast<double>(text.train.tokens)) + " " + text.unit +
                  " to train on, " + std::to_string(facts.text.gate_size()) + " gate and " +
                  std::to_string(facts.text.validation_size()) + " validation sequences");
  add(lines, text.description);
  if (facts.config.model.name == models::ModelName::kPretrained) warn_of_tokens(lines, facts);
  lines.push_back("model        " + model_text(facts));
  if (facts.launch.size > 1) {
    const bool mpi = facts.launch.launcher == distributed::Launcher::kMpi;
    lines.push_back("ranks        " + std::to_string(facts.launch.size) + " over " +
                    (mpi ? "MPI" : "NCCL") + ", " +
                    std::to_string(facts.config.batch.sequences_of_step() / facts.launch.size) +
                    " sequences of a step each");
  }
  if (facts.config.leapverify.options.enabled) {
    describe_leaps(lines, facts);
  } else {
    lines.push_back("leapverify   off (leapverify.enabled: true switches it on)");
    if (facts.config.run.eval_average) {
      add(lines, "run.eval_average has no effect: leapverify keeps the average");
    }
  }
  if (const auto skipped = text.binary_files + text.unreadable + text.files_left_out; skipped > 0) {
    lines.push_back("left out     " + std::to_string(text.binary_files) +
                    " files that are no text, " + std::to_string(text.unreadable) +
                    " unreadable, " + std::to_string(text.files_left_out) +
                    " beyond data.max_bytes");
  }
  if (text.documents_left_out > 0) {
    lines.push_back("left out     " + std::to_string(text.documents_left_out) +
                    " documents without a token that counts within batch.context");
  }
  if (facts.step > 0) lines.push_back("resumed      at step " + std::to_string(facts.step));
  for (const ConfigChange& change : facts.changes) {
    add(lines, change.key + ": " + change.from + " -> " + change.to);
  }
  return lines;
}

}  // namespace leapverify::trainer

#include <leapverify/runtime/policy/forecast.h>
#include <leapverify/runtime/policy/options.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

namespace leapverify {

Options Options::paper() {
  Options options;
  constexpr double kNone = std::numeric_limits<double>::infinity();
  options.observe_every = 50;
  options.probes = 100;
  options.predictor.kind = policy::PredictorKind::kLinear;
  options.reference = Reference::kCurrent;
  options.trust_path = kNone;
  options.trust_norm = kNone;
  options.on_accept = OnAccept::kLeap;
  options.controller.least_regime = Regime::kStable;
  options.detector.signal = SignalKind::kActivationCosine;
  options.detector.thresholds = ThresholdKind::kFixed;
  options.detector.hysteresis = 2;
  options.controller.horizons = {5, 10, 25, 50, 75, 100};
  options.controller.first_leap = 0;
  options.controller.max_overhead = kNone;
  options.controller.max_backoff = 0;
  options.verification.rule = policy::Rule::kStrict;
  options.verification.margin = 0;
  options.verification.sequences = 32;
  options.gate = GateSource::kFixed;
  options.moments = MomentPolicy::kScale;
  options.moment_scale = 0;
  return options;
}

Options Options::free_rate() {
  Options options;
  options.rate.free = true;
  return options;
}

Options Options::automatic() {
  Options options = free_rate();
  options.rate.looks = 8;
  // Only looks are paid for with it.
  options.controller.max_overhead = 0.01;
  return options;
}

Options Options::of(OptionsPreset preset) {
  switch (preset) {
    case OptionsPreset::kAuto:
      return automatic();
    case OptionsPreset::kFree:
      return free_rate();
    case OptionsPreset::kPaper:
      return paper();
    case OptionsPreset::kVerified:
      break;
  }
  return {};
}

policy::ControllerOptions Options::resolved_controller() const {
  policy::ControllerOptions resolved = controller;
  if (!resolved.horizons.empty()) return resolved;
  const std::int64_t half = std::max<std::int64_t>(1, observe_every / 2);
  if (!leaps()) {
    // Two horizons tell all that moves the rate.
    resolved.horizons = {half, far_horizon()};
  } else {
    // Beyond 64 windows no trend holds.
    for (int i = 0; i < 8; ++i) resolved.horizons.push_back(half << i);
  }
  std::vector<std::int64_t>& horizons = resolved.horizons;
  while (horizons.size() > 1 && planned_steps > 0 && horizons.back() >= planned_steps) {
    horizons.pop_back();
  }
  return resolved;
}

std::string Options::no_try_reason() const {
  if (!enabled || planned_steps == 0 || rate.free) return "";
  const std::string run = std::to_string(planned_steps) + " steps";
  if (controller.first_leap >= planned_steps) {
    return "first_leap is " + std::to_string(controller.first_leap) + " of " + run;
  }
  const std::int64_t window = observe_every * policy::Portfolio(predictor).snapshots_needed();
  if (window < planned_steps) return "";
  return "the snapshots that predictor " + std::string(name_of(predictor.kind)) + " needs span " +
         std::to_string(window) + " of " + run;
}

policy::VerifierOptions Options::verification_of_one() const {
  policy::VerifierOptions one = verification;
  one.alpha /= static_cast<double>(policy::Portfolio(predictor).members().size());
  return one;
}

bool Options::has_trust_region() const {
  return leaps() && std::isfinite(std::min(trust_path, trust_norm));
}

void Options::describe(FieldVisitor& visitor) {
  visitor.field("enabled", enabled, "the whole switch; off: exactly the base optimizer");
  visitor.choice("mode", mode,
                 "shadow: try, verify and trace, but never commit; all of a portfolio are asked");
  visitor.field("observe_every", observe_every, at_least(1),
                "steps between two snapshots of the weights");
  visitor.field("probes", probes, at_least(0),
                "held-out sequences scored at every observation: their loss is traced, and with "
                "detector.signal: activation_cosine their activations tell the regime; 0: none");
  predictor.describe(visitor);
  visitor.choice(
      "snapshots", snapshots,
      "bytes per parameter: float32: 4 each; bfloat16_deltas: 4, then 2 each; host: none "
      "on the GPU");
  visitor.choice("reference", reference,
                 "where candidates are compared: at the weights, or at their running average");
  visitor.field("denoise_decay", denoise_decay, Range{0, 1, false, true},
                "denoised: share of the average that stays at a step");
  visitor.field("trust_path", trust_path, above(0),
                "longest leap, relative to the path walked so far; inf: no bound");
  visitor.field("trust_norm", trust_norm, above(0),
                "longest leap, relative to the norm of the weights; inf: no bound");
  visitor.choice("on_accept", on_accept,
                 "what an accepted candidate changes: weights, learning rate, or both");
  visitor.group("rate", rate);
  controller.describe(visitor);
  visitor.group("detector", detector);
  visitor.group("verification", verification);
  visitor.choice("gate", gate,
                 "what losses are compared on: fresh gate sequences, the same, or the next batch");
  visitor.field("max_gate_passes", max_gate_passes, at_least(1),
                "times that the gate set may be gone through; then no more tries are made");
  visitor.choice("moments", moments, "the optimizer's moments after a committed leap");
  visitor.field("moment_scale", moment_scale, between(0, 1),
                "moments: scale: factor; 0 zeroes them");
  visitor.choice("schedule", schedule,
                 "the learning-rate schedule after a committed leap: goes on, or K steps later");
  visitor.choice("data", data, "the data after a committed leap: goes on, or K steps later");
  visitor.choice("batch_norm", batch_norm, "batch norm's statistics at a candidate");
  visitor.field("trace_losses", trace_losses,
                "candidates and looks in the trace carry the losses of the single sequences");
}

namespace {

void check_horizons(const Options& options) {
  if (options.planned_steps < 0) {
    throw InvalidOption("planned_steps", std::to_string(options.planned_steps),
                        at_least(0).text("an integer"));
  }
  if (!options.enabled || options.planned_steps == 0) return;
  for (const std::int64_t steps : options.controller.horizons) {
    if (steps >= options.planned_steps) {
      throw InvalidOption(
          "horizons", std::to_string(steps),
          "a horizon shorter than the run of " + std::to_string(options.planned_steps) + " steps");
    }
  }
}

void check_rehearsals(const Options& options) {
  const std::string when = name_of(options.verification.when);
  if (options.rehearses() && options.gate == GateSource::kNextBatch) {
    throw InvalidOption("gate", name_of(options.gate),
                        "fresh or fixed with when: " + when + ", which trains on the next batch");
  }
  if (options.verification.when == policy::When::kSettled && options.probes == 0) {
    throw InvalidOption("probes", "0",
                        "at least 1 with when: settled, whose forecast is of the probes' loss");
  }
  const double least_alpha = 1.0 / static_cast<double>(policy::Forecast::kMostErrors);
  if (options.verification.when == policy::When::kSettled &&
      options.verification_of_one().alpha < least_alpha) {
    throw InvalidOption("alpha", number_text(options.verification.alpha),
                        "at least " + number_text(least_alpha) +
                            " for each predictor with when: settled, which keeps so many errors");
  }
  const std::int64_t settle_steps = options.verification.settle_steps;
  if (options.enabled && options.rehearses() && options.planned_steps > 0 &&
      settle_steps >= options.planned_steps) {
    throw InvalidOption("settle_steps", std::to_string(settle_steps),
                        "fewer steps than the run of " + std::to_string(options.planned_steps));
  }
}

void check_positions(const Options& options) {
  if (options.leaps()) return;
  const char* legal = "keep with on_accept: rate, which makes no leaps";
  if (options.schedule == SchedulePolicy::kAdvance) {
    throw InvalidOption("schedule", name_of(options.schedule), legal);
  }
  if (options.data == DataPolicy::kSkip) throw InvalidOption("data", name_of(options.data), legal);
}

/// Links of a cascade lie as far apart as their horizon.
void check_cascade(const Options& options, const policy::Portfolio& portfolio) {
  if (options.controller.cascade == 1) return;
  const std::string cascade = std::to_string(options.controller.cascade);
  if (!options.leaps()) {
    throw InvalidOption("cascade", cascade, "1 with on_accept: rate, which makes no leaps");
  }
  for (const policy::Predictor& member : portfolio.members()) {
    if (!member.needs_equal_spacing()) continue;
    const std::string whose = portfolio.members().size() > 1
                                  ? " of portfolio: " + list_text(options.predictor.portfolio)
                                  : "";
    throw InvalidOption("cascade", cascade,
                        std::string("1 with the predictor ") + name_of(member.kind()) + whose +
                            ", which needs equally spaced snapshots");
  }
  if (options.reference == Reference::kCurrent && portfolio.snapshots_needed() > 2) {
    throw InvalidOption("cascade", cascade,
                        "1 with reference: current and a predictor of more than two snapshots: "
                        "history begins anew at each link");
  }
}

void check_portfolio(const Options& options, const policy::Portfolio& portfolio) {
  const policy::Rule rule = options.verification.rule;
  const bool tolerant = rule == policy::Rule::kAdaptive || rule == policy::Rule::kProximity;
  // In mode shadow none lands, so that each may be judged by itself.
  if (portfolio.members().size() > 1 && tolerant && options.mode != Mode::kShadow) {
    throw InvalidOption("rule", name_of(rule),
                        "strict or sequential with a portfolio, whose candidates must be better "
                        "than the best so far; any in mode: shadow");
  }
}

void check_batch_norm(const Options& options, const policy::Portfolio& portfolio) {
  if (options.batch_norm != BatchNormPolicy::kExtrapolate) return;
  if (portfolio.has_row_per_tensor() || portfolio.has(policy::PredictorKind::kMomentum)) {
    throw InvalidOption("batch_norm", name_of(options.batch_norm),
                        "keep or recompute with a predictor whose coefficients are not the same "
                        "for all tensors");
  }
}

/// Whether a run whose rate is free, or a look at it, reads an option.
bool read_by_free_rate(const std::string& option) {
  // A checkpoint's signal must be that of the options.
  static const std::set<std::string> kRead = {"enabled",
                                              "observe_every",
                                              "probes",
                                              "denoise_decay",
                                              "rate.free",
                                              "rate.growth",
                                              "rate.stride",
                                              "rate.looks",
                                              "detector.signal",
                                              "max_overhead",
                                              "max_gate_passes",
                                              "trace_losses",
                                              "verification.rule",
                                              "verification.alpha",
                                              "verification.sequences",
                                              "verification.margin",
                                              "verification.pilot",
                                              "verification.clip",
                                              "verification.max_sequences"};
  return kRead.count(option) > 0;
}

void check_free_rate(const Options& options) {
  const std::vector<FieldText> given = field_texts(options);
  const std::vector<FieldText> usual = field_texts(Options());
  for (std::size_t i = 0; i < given.size(); ++i) {
    const std::string& name = given[i].name;
    if (given[i].value == usual[i].value || read_by_free_rate(name)) continue;
    // The probes' activations tell a regime.
    if (options.probes > 0 && name.rfind("detector.", 0) == 0) continue;
    throw InvalidOption(name, given[i].value,
                        "to be left out with the presets auto and free (rate.free), which try no "
                        "candidates; preset: verified does");
  }
  if (options.denoise_decay == 0) {
    throw InvalidOption(
        "denoise_decay", "0",
        "a number above 0 with rate.free, whose stride is measured from an average");
  }
  if (options.rate.stride > policy::RateOptions::kFreeLargestStride) {
    throw InvalidOption("rate.stride", number_text(options.rate.stride),
                        "at most " + number_text(policy::RateOptions::kFreeLargestStride) +
                            " with rate.free; where none is given it is 0.05 to 0.5 mostly");
  }
  if (options.rate.looks == 0) return;
  if (options.probes > 0) {
    throw InvalidOption("probes", std::to_string(options.probes),
                        "0 with rate.looks (preset auto), for which they would leave nothing of "
                        "max_overhead; preset: free takes them");
  }
  if (options.verification.rule != policy::Rule::kSequential) {
    throw InvalidOption("verification.rule", name_of(options.verification.rule),
                        "sequential with rate.looks, which go by what is shown to be worse");
  }
}

/// Refuses values other than the default where nothing reads them.
void check_effects(const Options& options, const policy::Portfolio& portfolio) {
  const policy::PredictorOptions& predictor = options.predictor;
  if (predictor.min_signal_to_noise > 0 && !portfolio.has(policy::PredictorKind::kLeastSquares)) {
    throw InvalidOption("min_signal_to_noise", number_text(predictor.min_signal_to_noise),
                        "0, or the predictor least_squares, which alone reads it");
  }
  const std::vector<std::string> members = policy::PredictorOptions().portfolio;
  if (predictor.kind != policy::PredictorKind::kPortfolio && predictor.portfolio != members) {
    throw InvalidOption("portfolio", list_text(predictor.portfolio),
                        list_text(members) + ", or predictor: portfolio, which alone reads it");
  }
  const bool averages = options.reference == Reference::kDenoised && options.denoise_decay > 0;
  if (options.rate.stride > 0 && !(averages && options.adapts_rate())) {
    throw InvalidOption("rate.stride", number_text(options.rate.stride),
                        "0, or reference: denoised with a decay above 0, whose average it is "
                        "measured from, and on_accept: rate or both");
  }
  if (options.enabled && options.rate.looks > 0 && !options.rate.free) {
    throw InvalidOption("rate.looks", std::to_string(options.rate.looks),
                        "0, or rate.free: true (preset: auto), whose runs are looked at");
  }
  const std::int64_t settle_steps = policy::VerifierOptions().settle_steps;
  if (!options.rehearses() && options.verification.settle_steps != settle_steps) {
    throw InvalidOption(
        "settle_steps", std::to_string(options.verification.settle_steps),
        std::to_string(settle_steps) + ", or when: settled or raced, which alone read it");
  }
}

}  // namespace

void Options::validate() const {
  validate_fields(*this);
  if (enabled && rate.free) check_free_rate(*this);
  const Detector detector_check(detector);
  const policy::Controller controller_check(resolved_controller());
  const policy::Portfolio portfolio(predictor);
  const policy::Verifier verifier_check(verification_of_one());
  const policy::RateScale rate_check(rate);
  if (probes == 0 && controller.least_regime != Regime::kChaotic &&
      detector.signal == SignalKind::kActivationCosine) {
    throw InvalidOption("probes", "0",
                        "at least 1 where leaps wait for a regime that activations tell "
                        "(detector.signal: delta_cosine takes no probes, least_regime: chaotic "
                        "waits for none)");
  }
  if (reference == Reference::kDenoised && portfolio.has(policy::PredictorKind::kMomentum)) {
    throw InvalidOption("predictor", name_of(policy::PredictorKind::kMomentum),
                        "one made of snapshots with reference: denoised; the optimizer's momentum "
                        "starts from the weights");
  }
  if (gate == GateSource::kFixed && verification.rule == policy::Rule::kSequential) {
    throw InvalidOption("gate", name_of(gate),
                        "fresh with the rule sequential, whose promise needs sequences not seen "
                        "before");
  }
  check_horizons(*this);
  check_rehearsals(*this);
  check_positions(*this);
  check_cascade(*this, portfolio);
  check_portfolio(*this, portfolio);
  check_batch_norm(*this, portfolio);
  check_effects(*this, portfolio);
}

}  // namespace leapverify

#include <leapverify/runtime/policy/options.h>

#include <algorithm>
#include <cmath>

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

policy::ControllerOptions Options::resolved_controller() const {
  policy::ControllerOptions resolved = controller;
  if (!resolved.horizons.empty()) return resolved;
  // Beyond 64 windows no trend holds. The rate rises by the same factor whatever the horizon.
  const int doublings = leaps() ? 8 : 1;
  std::int64_t next = std::max<std::int64_t>(1, observe_every / 2);
  for (int i = 0; i < doublings; ++i, next *= 2) {
    if (i > 0 && planned_steps > 0 && next >= planned_steps) break;
    resolved.horizons.push_back(next);
  }
  return resolved;
}

bool Options::has_trust_region() const { return std::isfinite(std::min(trust_path, trust_norm)); }

void Options::describe(FieldVisitor& visitor) {
  visitor.field("enabled", enabled, "the whole switch; off: exactly the base optimizer");
  visitor.choice("mode", mode, "shadow: try, verify and trace, but never commit");
  visitor.field("observe_every", observe_every, at_least(1),
                "steps between two snapshots of the weights");
  visitor.field("probes", probes, at_least(0),
                "held-out sequences whose activations tell the regime; 0: no regime is told");
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
  visitor.choice("gate", gate, "held-out sequences of a try: fresh ones, or always the same");
  visitor.choice("moments", moments, "the optimizer's moments after a committed leap");
  visitor.field("moment_scale", moment_scale, between(0, 1),
                "moments: scale: factor; 0 zeroes them");
  visitor.field("trace_losses", trace_losses,
                "candidates in the trace carry the losses of the single sequences");
}

void Options::validate() const {
  validate_fields(*this);
  const Detector detector_check(detector);
  const policy::Controller controller_check(resolved_controller());
  const policy::Verifier verifier_check(verification);
  const policy::RateScale rate_check(rate);
  if (probes == 0 && controller.least_regime != Regime::kChaotic) {
    throw InvalidOption("probes", "0",
                        "at least 1 where leaps wait for a regime (least_regime: chaotic waits for "
                        "none)");
  }
  if (reference == Reference::kDenoised && predictor.kind == policy::PredictorKind::kMomentum) {
    throw InvalidOption("predictor", name_of(predictor.kind),
                        "one made of snapshots with reference: denoised; the optimizer's momentum "
                        "starts from the weights");
  }
  if (gate == GateSource::kFixed && verification.rule == policy::Rule::kSequential) {
    throw InvalidOption("gate", name_of(gate),
                        "fresh with the rule sequential, whose promise needs sequences not seen "
                        "before");
  }
  if (planned_steps < 0) {
    throw InvalidOption("planned_steps", std::to_string(planned_steps),
                        at_least(0).text("an integer"));
  }
  const std::int64_t window = observe_every * policy::Predictor(predictor).snapshots_needed();
  if (enabled && planned_steps > 0 && window >= planned_steps) {
    throw InvalidOption("observe_every", std::to_string(observe_every),
                        "a window (" + std::to_string(window) + " steps with predictor " +
                            name_of(predictor.kind) + ") shorter than the run of " +
                            std::to_string(planned_steps) + " steps");
  }
  for (const std::int64_t steps : resolved_controller().horizons) {
    if (enabled && planned_steps > 0 && steps >= planned_steps) {
      throw InvalidOption(
          "horizons", std::to_string(steps),
          "a horizon shorter than the run of " + std::to_string(planned_steps) + " steps");
    }
  }
}

}  // namespace leapverify

#include <leapverify/runtime/policy/options.h>

namespace leapverify {

Options Options::paper() {
  Options options;
  options.observe_every = 50;
  options.probes = 100;
  options.detector.thresholds = ThresholdKind::kFixed;
  options.detector.hysteresis = 2;
  options.controller.horizons = {5, 10, 25, 50, 75, 100};
  options.controller.first_leap = 0;
  options.controller.max_overhead = std::numeric_limits<double>::infinity();
  options.controller.max_backoff = 0;
  options.verification.rule = policy::Rule::kStrict;
  options.verification.sequences = 32;
  options.gate = GateSource::kFixed;
  options.moments = MomentPolicy::kScale;
  options.moment_scale = 0;
  return options;
}

void Options::describe(FieldVisitor& visitor) {
  visitor.field("enabled", enabled, "the whole switch; off: exactly the base optimizer");
  visitor.choice("mode", mode, "shadow: try, verify and trace, but never commit");
  visitor.field("observe_every", observe_every, at_least(1),
                "steps between two snapshots of the weights");
  visitor.field("probes", probes, at_least(1),
                "held-out sequences whose activations tell the regime");
  predictor.describe(visitor);
  visitor.choice(
      "snapshots", snapshots,
      "bytes per parameter: float32: 4 each; bfloat16_deltas: 4, then 2 each; host: none "
      "on the GPU");
  controller.describe(visitor);
  visitor.group("detector", detector);
  visitor.group("verification", verification);
  visitor.choice("gate", gate, "held-out sequences of a try: fresh ones, or always the same");
  visitor.choice("moments", moments, "the optimizer's moments after a committed leap");
  visitor.field("moment_scale", moment_scale, between(0, 1),
                "moments: scale: factor; 0 zeroes them");
}

void Options::validate() const {
  validate_fields(*this);
  const Detector detector_check(detector);
  const policy::Controller controller_check(controller);
  const policy::Verifier verifier_check(verification);
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
  for (const std::int64_t horizon : controller.horizons) {
    if (enabled && planned_steps > 0 && horizon >= planned_steps) {
      throw InvalidOption(
          "horizons", std::to_string(horizon),
          "a horizon shorter than the run of " + std::to_string(planned_steps) + " steps");
    }
  }
}

}  // namespace leapverify

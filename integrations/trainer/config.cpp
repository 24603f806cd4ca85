#include <leapverify/integrations/text_ends.h>
#include <leapverify/integrations/trainer/config.h>

namespace leapverify::trainer {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Range kPositive{0, kInfinity, true, true};
constexpr Range kNotNegative{0, kInfinity, false, true};
constexpr Range kBelowOne{0, 1, false, true};

}  // namespace

void RunOptions::describe(FieldVisitor& visitor) {
  visitor.field("folder", folder, "where the run is written; empty: the program chooses");
  visitor.field("seed", seed, at_least(0), "initial weights and dropout");
  visitor.field("steps", steps, at_least(1), "optimizer steps of the run");
  visitor.field("log_every", log_every, at_least(1), "steps between two lines of metrics");
  visitor.field("eval_every", eval_every, at_least(0),
                "steps between two validations; 0: only at the end");
  visitor.field("eval_sequences", eval_sequences, at_least(1),
                "validation sequences to score, all if there are fewer");
  visitor.field("eval_average", eval_average,
                "validation at the average of the recent weights too, while leapverify keeps one "
                "(reference: denoised)");
  visitor.field("target_loss", target_loss, kNotNegative,
                "validation loss at which the run ends before its last step; 0: none");
  visitor.field("checkpoint_every", checkpoint_every, at_least(0),
                "steps between two checkpoints; 0: only at the end");
  visitor.field("keep_checkpoints", keep_checkpoints, at_least(1), "newest checkpoints to keep");
  visitor.field(
      "keep_best", keep_best,
      "a checkpoint at each validation that is better than all before, of which the last is "
      "kept beside the newest");
  visitor.choice("device", device, "auto: cuda where there is one");
  visitor.choice("precision", precision,
                 "of activations and matrix products; weights and loss are fp32 in any. bf16: "
                 "autocast; tf32: fp32 with faster, rougher products, on CUDA");
  visitor.field(
      "cuda_graph", cuda_graph,
      "on one GPU, forward and backward passes are captured once and replayed: faster where "
      "the GPU waits for launches, as with small models");
  visitor.field("threads", threads, between(0, 1024), "CPU threads; 0: one for each core");
  visitor.field("sample_bytes", sample_bytes, at_least(0),
                "tokens, so bytes of text, that the model writes at the end; 0: none");
  visitor.field(
      "profile_steps", profile_steps, at_least(0),
      "steps, after the first ten, whose operations go to profile.json in the run's folder, a "
      "Chrome trace; 0: none");
}

void BatchOptions::describe(FieldVisitor& visitor) {
  visitor.field("sequences", sequences, between(1, 1 << 20), "sequences of a forward pass");
  visitor.field("accumulate", accumulate, between(1, 1 << 16),
                "forward and backward passes of a training step, which takes the mean of their "
                "gradients");
  visitor.field("context", context, between(0, 1 << 24),
                "tokens of a sequence; 0: as many as the model takes");
  visitor.field(
      "held_out", held_out, between(0, 1 << 20),
      "held-out sequences of a forward pass, which without gradients takes less memory; 0: as "
      "many as sequences");
}

void MuonSettings::describe(FieldVisitor& visitor) {
  visitor.field("momentum", momentum, kBelowOne,
                "decay of the mean gradient of matrices; other weights are stepped by adamw");
  visitor.choice("rate", rate,
                 "factor on the rate of a matrix [r × c]; original: √max(1, r/c); match_rms_adamw: "
                 "0.2 √max(r, c), for which adamw's rates are right");
  visitor.field("matrix_lr", lr, kNotNegative, "learning rate of matrices; 0: optimizer.lr");
}

void OptimizerOptions::describe(FieldVisitor& visitor) {
  visitor.choice("name", name, "the base optimizer, which LeapVerify wraps");
  visitor.field("lr", lr, kPositive, "learning rate after warm-up");
  visitor.field("beta1", beta1, kBelowOne, "adamw: decay of the mean gradient");
  visitor.field("beta2", beta2, kBelowOne, "adamw: decay of the mean squared gradient");
  visitor.field("eps", eps, kPositive, "adamw: added to the denominator");
  visitor.field("weight_decay", weight_decay, kNotNegative, "pull of the weights towards 0");
  visitor.field("decay_embeddings", decay_embeddings, "whether embeddings and output head decay");
  visitor.field("decay_vectors", decay_vectors, "whether norms and biases decay");
  visitor.field("momentum", momentum, kBelowOne, "sgd: decay of the running gradient");
  visitor.field("clip", clip, kNotNegative, "largest norm of the gradient; 0: no clipping");
  visitor.group("muon", muon);
}

bool OptimizerOptions::uses(const std::string& field) const {
  if (starts_with(field, "muon.")) return name == OptimizerName::kMuon;
  if (field == "momentum") return name == OptimizerName::kSgd;
  // Muon steps all but matrices as adamw does.
  if (field == "beta1" || field == "beta2" || field == "eps") return name != OptimizerName::kSgd;
  return true;
}

void DistributedOptions::describe(FieldVisitor& visitor) {
  visitor.field("timeout_seconds", timeout_seconds, Range{0, 1e7, true, false},
                "how long a rank waits for the others before it gives the run up");
}

void SpeculationSettings::describe(FieldVisitor& visitor) {
  policy::SpeculationOptions::describe(visitor);
  visitor.choice("device", device, "where the worker trains");
  visitor.field("gpu", gpu, between(0, 1 << 10), "the number of its GPU, with device: cuda");
  visitor.field("threads", threads, between(1, 1024), "its CPU threads");
}

void LeapVerifyConfig::apply_preset() {
  const bool enabled = options.enabled;
  options = Options::of(preset);
  options.enabled = enabled;
}

void LeapVerifyConfig::describe(FieldVisitor& visitor) {
  visitor.choice("preset", preset,
                 "what the keys below start from; auto: needs no learning rate and no schedule, "
                 "and takes back what held-out loss says is worse; verified: nothing changes that "
                 "has not verified; free: auto without held-out loss; paper: the published method");
  options.describe(visitor);
}

void Config::describe(FieldVisitor& visitor) {
  visitor.group("run", run);
  visitor.group("data", data);
  visitor.group("model", model);
  visitor.group("batch", batch);
  visitor.group("optimizer", optimizer);
  visitor.group("schedule", schedule);
  visitor.group("distributed", distributed);
  visitor.group("speculation", speculation);
  visitor.group("leapverify", leapverify);
}

}  // namespace leapverify::trainer

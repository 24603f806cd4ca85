#include <leapverify/integrations/trainer/presets.h>

namespace leapverify::trainer {

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {
      {"demo",
       "byte-level GPT of 0.8M parameters on Python sources, from a learning rate ten times too "
       "small; a minute on two CPU cores",
       R"(run: {steps: 600, log_every: 10, eval_every: 50, eval_sequences: 64, checkpoint_every: 200}
data: {extensions: [.py]}
model: {name: gpt, context: 128, width: 128, heads: 4, layers: 4}
batch: {sequences: 16}
optimizer: {name: adamw, lr: 3.0e-4, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, clip: 1}
schedule: {warmup: 50, kind: cosine, final_share: 0.1}
leapverify: {enabled: true}
)"},
      {"demo-gpu", "byte-level GPT of 11M parameters on Python sources; minutes on one GPU",
       R"(run: {steps: 2000, log_every: 20, eval_every: 100, eval_sequences: 256, checkpoint_every: 500}
data: {extensions: [.py]}
model: {name: gpt, context: 256, width: 384, heads: 6, layers: 6}
batch: {sequences: 64}
optimizer: {name: adamw, lr: 1.0e-3, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, clip: 1}
schedule: {warmup: 100, kind: cosine, final_share: 0.1}
leapverify: {enabled: true}
)"},
      {"gpt2-124m", "GPT-2 124M from a folder of its weights (model.folder), in bf16 on one GPU",
       R"(run: {steps: 2000, log_every: 10, eval_every: 100, eval_sequences: 64, checkpoint_every: 500, precision: bf16}
model: {name: pretrained}
batch: {sequences: 16, context: 1024}
optimizer: {name: adamw, lr: 3.0e-5, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, clip: 1}
schedule: {warmup: 100, kind: cosine, final_share: 0.1}
leapverify: {enabled: true}
)"},
      {"gpt2-124m-scratch",
       "GPT-2 124M from fresh weights, with the settings of GPT-3 Small (Brown et al. 2020) and "
       "10G "
       "tokens, in bf16 on one GPU",
       R"(run: {steps: 19073, log_every: 20, eval_every: 250, eval_sequences: 128, checkpoint_every: 1000, precision: bf16}
model: {name: gpt2, gpt2: {embd_pdrop: 0, attn_pdrop: 0, resid_pdrop: 0}}
batch: {sequences: 32, accumulate: 16, context: 1024}
optimizer: {name: adamw, lr: 6.0e-4, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, clip: 1}
schedule: {warmup: 715, kind: cosine, final_share: 0.1}
leapverify: {enabled: true}
)"},
      {"qwen2.5-1.5b",
       "Qwen2.5-1.5B from a folder of its weights (model.folder), in bf16 on one GPU",
       R"(run: {steps: 2000, log_every: 10, eval_every: 100, eval_sequences: 32, checkpoint_every: 500, precision: bf16}
model: {name: pretrained, activation_checkpointing: true}
batch: {sequences: 4, accumulate: 4, context: 2048}
optimizer: {name: adamw, lr: 1.0e-5, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, clip: 1}
schedule: {warmup: 100, kind: cosine, final_share: 0.1}
leapverify: {enabled: true}
)"},
      {"qwen2.5-1.5b-lora",
       "low-rank adapters for Qwen2.5-1.5B from a folder of its weights (model.folder), in bf16 on "
       "one GPU",
       R"(run: {steps: 2000, log_every: 10, eval_every: 100, eval_sequences: 32, checkpoint_every: 500, precision: bf16}
model: {name: pretrained, activation_checkpointing: true, lora: {rank: 16, alpha: 32, dropout: 0.05}}
batch: {sequences: 4, accumulate: 4, context: 2048}
optimizer: {name: adamw, lr: 2.0e-4, beta1: 0.9, beta2: 0.95, weight_decay: 0, clip: 1}
schedule: {warmup: 100, kind: cosine, final_share: 0.1}
leapverify: {enabled: true}
)"},
      {"paper-gpt2",
       "the published experiment on GPT-2 124M, as its code ran it: from a folder of its weights "
       "(model.folder); model.name=gpt2 for fresh ones, as its text says",
       R"(run: {seed: 42, steps: 2000, log_every: 10, eval_every: 50, eval_sequences: 64, checkpoint_every: 500}
model: {name: pretrained}
batch: {sequences: 4, context: 256}
optimizer: {name: adamw, lr: 5.0e-5, beta1: 0.9, beta2: 0.999, weight_decay: 0.01, decay_vectors: true, clip: 1}
schedule: {warmup: 100, kind: cosine, final_share: 0.1}
speculation: {max_distance: 0.05, relative_to: norm}
leapverify: {enabled: true, preset: paper}
)"},
      {"paper-qwen",
       "the published experiment on Qwen2.5-1.5B, as its code ran it: from a folder of its weights "
       "(model.folder)",
       R"(run: {seed: 42, steps: 2000, log_every: 10, eval_every: 50, eval_sequences: 64, checkpoint_every: 500}
model: {name: pretrained, activation_checkpointing: true}
batch: {sequences: 2, context: 256}
optimizer: {name: adamw, lr: 5.0e-5, beta1: 0.9, beta2: 0.999, weight_decay: 0.01, decay_vectors: true, clip: 1}
schedule: {warmup: 100, kind: cosine, final_share: 0.1}
speculation: {max_distance: 0.05, relative_to: norm}
leapverify: {enabled: true, preset: paper, verification: {sequences: 8}}
)"},
      {"paper", "the published method with the published training settings, on a byte-level GPT",
       R"(run: {steps: 2000, log_every: 10, eval_every: 50, eval_sequences: 64, checkpoint_every: 500}
model: {name: gpt, context: 256}
batch: {sequences: 4}
optimizer: {name: adamw, lr: 5.0e-5, beta1: 0.9, beta2: 0.999, weight_decay: 0.01, decay_vectors: true, clip: 1}
schedule: {warmup: 100, kind: cosine, final_share: 0.1}
speculation: {max_distance: 0.05, relative_to: norm}
leapverify: {enabled: true, preset: paper}
)"}};
  return all;
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

}  // namespace leapverify::trainer

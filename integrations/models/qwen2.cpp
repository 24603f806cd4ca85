#include <leapverify/integrations/models/attention.h>
#include <leapverify/integrations/models/pretrained_config.h>
#include <leapverify/integrations/models/qwen2.h>

namespace leapverify::models {
namespace {

LoraLinear linear(std::int64_t in, std::int64_t out, bool bias) {
  return LoraLinear(torch::nn::LinearOptions(in, out).bias(bias));
}

torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight, double epsilon) {
  return at::rms_norm(x, weight.sizes(), weight, epsilon);
}

/// What turns each head by its position: cosines and sines, [time × size].
struct Rotation {
  torch::Tensor cosine, sine;

  /// Angle of place t and number i: t · base^(−2·(i mod size/2)/size).
  Rotation(std::int64_t time, std::int64_t size, double base, torch::Device device) {
    const torch::TensorOptions options = torch::dtype(torch::kFloat).device(device);
    const torch::Tensor wavelengths =
        torch::pow(base, torch::arange(0, size, 2, options) / static_cast<double>(size));
    const torch::Tensor angles = torch::outer(torch::arange(time, options), 1 / wavelengths);
    const torch::Tensor both_halves = torch::cat({angles, angles}, -1);
    cosine = both_halves.cos();
    sine = both_halves.sin();
  }

  /// Turns each pair (x_i, x_{i + size/2}) of x [… × time × size] by its angle.
  torch::Tensor of(const torch::Tensor& x) const {
    const std::vector<torch::Tensor> halves = x.chunk(2, -1);
    const torch::Tensor turned = torch::cat({-halves[1], halves[0]}, -1);
    return x * cosine.to(x.scalar_type()) + turned * sine.to(x.scalar_type());
  }
};

/// x ← x + attention(norm(x)); x ← x + mlp(norm(x)).
class Block : public torch::nn::Module {
 public:
  explicit Block(const Qwen2Options& options) : options_(options) {
    const std::int64_t width = options.width, inner = options.inner_width;
    const std::int64_t key_value_width = width / options.heads * options.key_value_heads;
    attention_norm_ = register_parameter("attention_norm", torch::ones({width}));
    q_ = register_module("q", linear(width, width, true));
    k_ = register_module("k", linear(width, key_value_width, true));
    v_ = register_module("v", linear(width, key_value_width, true));
    attention_out_ = register_module("attention_out", linear(width, width, false));
    mlp_norm_ = register_parameter("mlp_norm", torch::ones({width}));
    gate_ = register_module("gate", linear(width, inner, false));
    up_ = register_module("up", linear(width, inner, false));
    down_ = register_module("down", linear(inner, width, false));
  }

  torch::Tensor forward(torch::Tensor x, const Rotation& rotation, bool training) {
    const double epsilon = options_.norm_epsilon;
    x = x + attention(rms_norm(x, attention_norm_, epsilon), rotation, training);
    const torch::Tensor y = rms_norm(x, mlp_norm_, epsilon);
    // Apart, for each may draw random numbers.
    const torch::Tensor gate = torch::silu(gate_(y, training));
    return x + down_(gate * up_(y, training), training);
  }

  void initialise() {
    for (const LoraLinear& part : {q_, k_, v_, attention_out_, gate_, up_, down_}) {
      torch::nn::init::normal_(part->weight, 0, options_.initial_deviation);
      if (part->bias.defined()) torch::nn::init::zeros_(part->bias);
    }
  }

  /// `prefix` as in "model.layers.0.".
  void append_stored(const std::string& prefix, std::vector<StoredWeight>* weights) const {
    const auto add = [&](const char* name, const LoraLinear& module) {
      weights->push_back({prefix + name + ".weight", module->weight, /*transposed=*/false, module});
      if (module->bias.defined()) weights->push_back({prefix + name + ".bias", module->bias});
    };
    weights->push_back({prefix + "input_layernorm.weight", attention_norm_});
    add("self_attn.q_proj", q_);
    add("self_attn.k_proj", k_);
    add("self_attn.v_proj", v_);
    add("self_attn.o_proj", attention_out_);
    weights->push_back({prefix + "post_attention_layernorm.weight", mlp_norm_});
    add("mlp.gate_proj", gate_);
    add("mlp.up_proj", up_);
    add("mlp.down_proj", down_);
  }

 private:
  torch::Tensor attention(const torch::Tensor& x, const Rotation& rotation, bool training) {
    const torch::Tensor q = split_heads(q_(x, training), options_.heads);
    const torch::Tensor k = split_heads(k_(x, training), options_.key_value_heads);
    const torch::Tensor v = split_heads(v_(x, training), options_.key_value_heads);
    const torch::Tensor mixed = causal_attention(rotation.of(q), rotation.of(k), v,
                                                 training ? options_.attention_dropout : 0.0);
    return attention_out_(mixed, training);
  }

  Qwen2Options options_;
  torch::Tensor attention_norm_, mlp_norm_;
  LoraLinear q_{nullptr}, k_{nullptr}, v_{nullptr}, attention_out_{nullptr};
  LoraLinear gate_{nullptr}, up_{nullptr}, down_{nullptr};
};

}  // namespace

Qwen2::Qwen2(const Qwen2Options& options) : PretrainedModel("Qwen2"), options_(options) {
  options_.validate();
  const std::int64_t vocabulary = options_.vocabulary, width = options_.width;
  token_embedding_ = register_module("token_embedding", torch::nn::Embedding(vocabulary, width));
  blocks_ = register_module("blocks", torch::nn::ModuleList());
  for (std::int64_t layer = 0; layer < options_.layers; ++layer) {
    blocks_->push_back(std::make_shared<Block>(options_));
  }
  final_norm_ = register_parameter("final_norm", torch::ones({width}));
  if (!options_.tied_embeddings) {
    head_ = register_parameter("head", torch::empty({vocabulary, width}));
  }
  initialise();
}

void Qwen2::initialise() {
  const torch::NoGradGuard no_grad;
  torch::nn::init::normal_(token_embedding_->weight, 0, options_.initial_deviation);
  for (const auto& block : *blocks_) block->as<Block>()->initialise();
  if (head_.defined()) torch::nn::init::normal_(head_, 0, options_.initial_deviation);
}

torch::Tensor Qwen2::hidden(const torch::Tensor& tokens) {
  check_tokens(tokens);
  const Rotation rotation(tokens.size(1), options_.width / options_.heads, options_.rope_base,
                          tokens.device());
  const torch::Tensor x =
      run_blocks<Block>(blocks_, token_embedding_(tokens), rotation, is_training());
  return rms_norm(x, final_norm_, options_.norm_epsilon);
}

StoredWeights Qwen2::stored_weights() const {
  StoredWeights stored;
  stored.prefix = "model.";
  stored.ignored = {".rotary_emb.inv_freq"};
  stored.weights = {{"model.embed_tokens.weight", token_embedding_->weight}};
  for (std::size_t layer = 0; layer < blocks_->size(); ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    blocks_->at<Block>(layer).append_stored(prefix, &stored.weights);
  }
  stored.weights.push_back({"model.norm.weight", final_norm_});
  if (head_.defined()) {
    stored.weights.push_back({"lm_head.weight", head_});
  } else {
    stored.head_is = "model.embed_tokens.weight";
  }
  return stored;
}

std::string Qwen2::config_json() const {
  const torch::ScalarType dtype = token_embedding_->weight.scalar_type();
  return pretrained_config(options_, c10::getDtypeNames(dtype).first);
}

}  // namespace leapverify::models

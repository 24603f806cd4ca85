#include <leapverify/integrations/models/attention.h>
#include <leapverify/integrations/models/gpt2.h>
#include <leapverify/integrations/models/pretrained_config.h>

#include <cmath>

namespace leapverify::models {
namespace {

torch::nn::LayerNorm layer_norm(const Gpt2Options& options) {
  return torch::nn::LayerNorm(
      torch::nn::LayerNormOptions({options.width}).eps(options.norm_epsilon));
}

/// x ← x + attention(norm(x)); x ← x + mlp(norm(x)).
class Block : public torch::nn::Module {
 public:
  explicit Block(const Gpt2Options& options)
      : heads_(options.heads),
        attention_dropout_(options.attention_dropout),
        residual_dropout_(options.residual_dropout) {
    const std::int64_t width = options.width, inner = options.inner_width;
    attention_norm_ = register_module("attention_norm", layer_norm(options));
    qkv_ = register_module("qkv", LoraLinear(width, 3 * width));
    attention_out_ = register_module("attention_out", LoraLinear(width, width));
    mlp_norm_ = register_module("mlp_norm", layer_norm(options));
    mlp_in_ = register_module("mlp_in", LoraLinear(width, inner));
    mlp_out_ = register_module("mlp_out", LoraLinear(inner, width));
  }

  torch::Tensor forward(torch::Tensor x, bool training) {
    const auto drop = [&](const torch::Tensor& added) {
      return torch::dropout(added, residual_dropout_, training);
    };
    x = x + drop(attention(attention_norm_(x), training));
    const torch::Tensor inner = torch::gelu(mlp_in_(mlp_norm_(x), training), "tanh");
    return x + drop(mlp_out_(inner, training));
  }

  void initialise(double deviation, double residual_deviation) {
    for (const LoraLinear& linear : {qkv_, attention_out_, mlp_in_, mlp_out_}) {
      torch::nn::init::normal_(linear->weight, 0, deviation);
      torch::nn::init::zeros_(linear->bias);
    }
    torch::nn::init::normal_(attention_out_->weight, 0, residual_deviation);
    torch::nn::init::normal_(mlp_out_->weight, 0, residual_deviation);
  }

  /// `prefix` as in "transformer.h.0.".
  void append_stored(const std::string& prefix, std::vector<StoredWeight>* weights) const {
    const auto norm = [&](const char* name, const torch::nn::LayerNorm& module) {
      weights->push_back({prefix + name + ".weight", module->weight});
      weights->push_back({prefix + name + ".bias", module->bias});
    };
    // Files hold [in × out].
    const auto linear = [&](const char* name, const LoraLinear& module) {
      weights->push_back({prefix + name + ".weight", module->weight, /*transposed=*/true, module});
      weights->push_back({prefix + name + ".bias", module->bias});
    };
    norm("ln_1", attention_norm_);
    linear("attn.c_attn", qkv_);
    linear("attn.c_proj", attention_out_);
    norm("ln_2", mlp_norm_);
    linear("mlp.c_fc", mlp_in_);
    linear("mlp.c_proj", mlp_out_);
  }

 private:
  torch::Tensor attention(const torch::Tensor& x, bool training) {
    const std::vector<torch::Tensor> qkv = qkv_(x, training).chunk(3, -1);
    const torch::Tensor mixed =
        causal_attention(split_heads(qkv[0], heads_), split_heads(qkv[1], heads_),
                         split_heads(qkv[2], heads_), training ? attention_dropout_ : 0.0);
    return attention_out_(mixed, training);
  }

  std::int64_t heads_;
  double attention_dropout_, residual_dropout_;
  torch::nn::LayerNorm attention_norm_{nullptr}, mlp_norm_{nullptr};
  LoraLinear qkv_{nullptr}, attention_out_{nullptr}, mlp_in_{nullptr}, mlp_out_{nullptr};
};

}  // namespace

Gpt2::Gpt2(const Gpt2Options& options) : PretrainedModel("Gpt2"), options_(options) {
  options_.validate();
  const std::int64_t width = options_.width;
  token_embedding_ =
      register_module("token_embedding", torch::nn::Embedding(options_.vocabulary, width));
  position_embedding_ =
      register_module("position_embedding", torch::nn::Embedding(options_.context, width));
  blocks_ = register_module("blocks", torch::nn::ModuleList());
  for (std::int64_t layer = 0; layer < options_.layers; ++layer) {
    blocks_->push_back(std::make_shared<Block>(options_));
  }
  final_norm_ = register_module("final_norm", layer_norm(options_));
  initialise();
}

void Gpt2::initialise() {
  const torch::NoGradGuard no_grad;
  const double deviation = options_.initial_deviation;
  torch::nn::init::normal_(token_embedding_->weight, 0, deviation);
  torch::nn::init::normal_(position_embedding_->weight, 0, deviation);
  const double residual_deviation =
      deviation / std::sqrt(2.0 * static_cast<double>(options_.layers));
  for (const auto& block : *blocks_) {
    block->as<Block>()->initialise(deviation, residual_deviation);
  }
}

torch::Tensor Gpt2::hidden(const torch::Tensor& tokens) {
  check_tokens(tokens);
  const torch::Tensor positions = position_embedding_->weight.narrow(0, 0, tokens.size(1));
  const torch::Tensor x = torch::dropout(token_embedding_(tokens) + positions,
                                         options_.embedding_dropout, is_training());
  return final_norm_(run_blocks<Block>(blocks_, x, is_training()));
}

StoredWeights Gpt2::stored_weights() const {
  StoredWeights stored;
  stored.prefix = "transformer.";
  stored.head_is = "transformer.wte.weight";
  stored.ignored = {".attn.bias", ".attn.masked_bias"};
  stored.weights = {{"transformer.wte.weight", token_embedding_->weight},
                    {"transformer.wpe.weight", position_embedding_->weight}};
  for (std::size_t layer = 0; layer < blocks_->size(); ++layer) {
    const std::string prefix = "transformer.h." + std::to_string(layer) + ".";
    blocks_->at<Block>(layer).append_stored(prefix, &stored.weights);
  }
  stored.weights.push_back({"transformer.ln_f.weight", final_norm_->weight});
  stored.weights.push_back({"transformer.ln_f.bias", final_norm_->bias});
  return stored;
}

std::string Gpt2::config_json() const {
  const torch::ScalarType dtype = token_embedding_->weight.scalar_type();
  return pretrained_config(options_, c10::getDtypeNames(dtype).first);
}

}  // namespace leapverify::models

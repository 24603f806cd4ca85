#include <leapverify/integrations/models/gpt.h>

#include <cmath>

namespace leapverify::models {
namespace {

torch::nn::LayerNorm layer_norm(std::int64_t width) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}));
}

/// x ← x + attention(norm(x)); x ← x + mlp(norm(x)).
class Block : public torch::nn::Module {
 public:
  explicit Block(const GptOptions& options) : heads_(options.heads), dropout_(options.dropout) {
    const std::int64_t width = options.width;
    attention_norm_ = register_module("attention_norm", layer_norm(width));
    qkv_ = register_module("qkv", torch::nn::Linear(width, 3 * width));
    attention_out_ = register_module("attention_out", torch::nn::Linear(width, width));
    mlp_norm_ = register_module("mlp_norm", layer_norm(width));
    mlp_in_ = register_module("mlp_in", torch::nn::Linear(width, 4 * width));
    mlp_out_ = register_module("mlp_out", torch::nn::Linear(4 * width, width));
  }

  torch::Tensor forward(torch::Tensor x) {
    x = x + drop(attention_out_(attention(attention_norm_(x))));
    return x + drop(mlp_out_(torch::gelu(mlp_in_(mlp_norm_(x)), "tanh")));
  }

  void initialise(double residual_deviation) {
    for (const torch::nn::Linear& linear : {qkv_, attention_out_, mlp_in_, mlp_out_}) {
      torch::nn::init::normal_(linear->weight, 0, 0.02);
      torch::nn::init::zeros_(linear->bias);
    }
    torch::nn::init::normal_(attention_out_->weight, 0, residual_deviation);
    torch::nn::init::normal_(mlp_out_->weight, 0, residual_deviation);
  }

 private:
  torch::Tensor drop(const torch::Tensor& x) { return torch::dropout(x, dropout_, is_training()); }

  torch::Tensor attention(const torch::Tensor& x) {
    const std::int64_t batch = x.size(0), time = x.size(1), width = x.size(2);
    std::vector<torch::Tensor> qkv = qkv_(x).chunk(3, -1);
    for (torch::Tensor& part : qkv) {
      part = part.view({batch, time, heads_, width / heads_}).transpose(1, 2);
    }
    const torch::Tensor mixed = at::scaled_dot_product_attention(
        qkv[0], qkv[1], qkv[2], /*attn_mask=*/{}, is_training() ? dropout_ : 0.0,
        /*is_causal=*/true);
    return mixed.transpose(1, 2).reshape({batch, time, width});
  }

  std::int64_t heads_;
  double dropout_;
  torch::nn::LayerNorm attention_norm_{nullptr}, mlp_norm_{nullptr};
  torch::nn::Linear qkv_{nullptr}, attention_out_{nullptr}, mlp_in_{nullptr}, mlp_out_{nullptr};
};

}  // namespace

Gpt::Gpt(const GptOptions& options) : LanguageModel("Gpt"), options_(options) {
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
  final_norm_ = register_module("final_norm", layer_norm(width));
  initialise();
}

void Gpt::initialise() {
  const torch::NoGradGuard no_grad;
  torch::nn::init::normal_(token_embedding_->weight, 0, 0.02);
  torch::nn::init::normal_(position_embedding_->weight, 0, 0.02);
  const double residual_deviation = 0.02 / std::sqrt(2.0 * static_cast<double>(options_.layers));
  for (const auto& block : *blocks_) block->as<Block>()->initialise(residual_deviation);
}

torch::Tensor Gpt::hidden(const torch::Tensor& tokens) {
  LV_CHECK(tokens.dim() == 2 && tokens.size(1) <= options_.context,
           "tokens " << tokens.sizes() << ", expected [batch, at most " << options_.context << "]");
  const torch::Tensor positions = position_embedding_->weight.narrow(0, 0, tokens.size(1));
  torch::Tensor x =
      torch::dropout(token_embedding_(tokens) + positions, options_.dropout, is_training());
  for (const auto& block : *blocks_) x = block->as<Block>()->forward(x);
  return final_norm_(x);
}

torch::Tensor Gpt::logits(const torch::Tensor& hidden) {
  return torch::linear(hidden, token_embedding_->weight);
}

}  // namespace leapverify::models

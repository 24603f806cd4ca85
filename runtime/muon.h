// Muon: momentum of weight matrices, orthogonalised. The other groups of parameters step as AdamW's.
// Sources: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024; the rate that
// matches AdamW: Liu et al., Muon is Scalable for LLM Training, arXiv 2502.16982.
#pragma once

#include <leapverify/runtime/fused_adamw.h>
#include <leapverify/runtime/muon_rate.h>

#include <memory>
#include <vector>

namespace leapverify {

/// Of a group of parameters: AdamW's, and whether they are matrices to be stepped by Muon.
struct MuonOptions : torch::optim::AdamWOptions {
  using torch::optim::AdamWOptions::AdamWOptions;

  bool orthogonalised = false;
  double momentum = 0.95;
  MuonRate rate = MuonRate::kMatchAdamW;

  std::unique_ptr<torch::optim::OptimizerOptions> clone() const override {
    return std::make_unique<MuonOptions>(*this);
  }
};

/// AdamW's for parameters that are stepped so, a momentum buffer for the others.
struct MuonParamState : torch::optim::AdamWParamState {
  torch::Tensor momentum_buffer;

  std::unique_ptr<torch::optim::OptimizerParamState> clone() const override {
    return std::make_unique<MuonParamState>(*this);
  }
};

/// In groups that are orthogonalised, with gradient G, momentum μ and weight decay λ:
///
///     B ← μ B + (1 − μ) G;  U = μ B + (1 − μ) G;  W ← (1 − lr λ) W − lr · factor · orthogonal(U).
///
/// Elsewhere it is FusedAdamW. Matrices of one shape are stepped together. Never synchronises with the
/// device. Every group's options are MuonOptions; throws ContractError for an orthogonalised parameter
/// that has not two dimensions, and for sparse gradients.
class Muon : public FusedAdamW {
 public:
  explicit Muon(const std::vector<torch::optim::OptimizerParamGroup>& groups);

 protected:
  void step_group(torch::optim::OptimizerParamGroup& group) override;
  std::unique_ptr<torch::optim::AdamWParamState> empty_state() const override;
};

/// Of each matrix of `stack` [n × r × c], about UVᵀ where it is USVᵀ: its singular values come to lie
/// about 1, between some 0.7 and 1.2, by five Newton-Schulz steps X ← aX + (bA + cA²)X, A = XXᵀ, in
/// bf16, from X / ‖X‖. Result [n × r × c] bf16.
torch::Tensor orthogonal(const torch::Tensor& stack);

}  // namespace leapverify

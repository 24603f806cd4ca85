#include <leapverify/kernels/error.h>
#include <leapverify/runtime/batch_evaluator.h>
#include <torch/torch.h>

#include <algorithm>
#include <utility>

namespace leapverify {

BatchEvaluator::BatchEvaluator(at::Tensor inputs, at::Tensor targets,
                               std::int64_t sequences_per_step, Forward forward, std::int64_t batch)
    : inputs_(std::move(inputs)),
      targets_(std::move(targets)),
      sequences_per_step_(sequences_per_step),
      forward_(std::move(forward)),
      batch_(batch) {
  LV_CHECK(inputs_.defined() && inputs_.dim() >= 1, "inputs need a dimension of sequences");
  LV_CHECK(targets_.defined() && targets_.dim() >= 1 && targets_.size(0) == inputs_.size(0),
           "inputs have " << inputs_.size(0) << " sequences; targets must have as many");
  LV_CHECK(sequences_per_step_ >= 1, "sequences_per_step = " << sequences_per_step_);
  LV_CHECK(batch_ >= 1, "batch = " << batch_);
  LV_CHECK(forward_ != nullptr, "no forward function");
}

Evaluation BatchEvaluator::evaluate(const std::vector<std::int64_t>& sequences, bool activations) {
  std::vector<at::Tensor> losses;
  std::vector<at::Tensor> vectors;
  const auto count = static_cast<std::int64_t>(sequences.size());
  const at::Tensor all = at::tensor(sequences, at::kLong).to(inputs_.device());
  for (std::int64_t begin = 0; begin < count; begin += batch_) {
    const at::Tensor rows = all.narrow(0, begin, std::min(batch_, count - begin));
    Evaluation part = forward_(inputs_.index_select(0, rows), targets_.index_select(0, rows));
    losses.push_back(part.losses);
    if (activations) vectors.push_back(part.activations);
  }
  const bool have_all = activations && std::all_of(vectors.begin(), vectors.end(),
                                                   [](const auto& t) { return t.defined(); });
  return {at::cat(losses), have_all ? at::cat(vectors) : at::Tensor()};
}

}  // namespace leapverify

#include <leapverify/integrations/models/evaluation_mode.h>
#include <leapverify/integrations/trainer/language_evaluator.h>

#include <algorithm>
#include <numeric>

namespace leapverify::trainer {
namespace {

/// read(index, tokens, targets) fills one row.
template <class Read>
TokenBatch held_out_batch(const std::vector<std::int64_t>& sequences, std::int64_t context,
                          torch::Device device, Read read) {
  const auto rows = static_cast<std::int64_t>(sequences.size());
  const TokenBatch batch{torch::empty({rows, context}, torch::kInt64),
                         torch::empty({rows, context}, torch::kInt64)};
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto offset = static_cast<std::int64_t>(i) * context;
    read(sequences[i], batch.tokens.data_ptr<std::int64_t>() + offset,
         batch.targets.data_ptr<std::int64_t>() + offset);
  }
  return {batch.tokens.to(device), batch.targets.to(device)};
}

/// Calls action(part) for consecutive parts of at most `rows` sequences.
template <class Action>
void in_parts(const std::vector<std::int64_t>& sequences, std::int64_t rows, Action action) {
  const auto count = static_cast<std::int64_t>(sequences.size());
  for (std::int64_t begin = 0; begin < count; begin += rows) {
    const auto first = sequences.begin() + begin;
    action(std::vector<std::int64_t>(first, first + std::min(rows, count - begin)));
  }
}

}  // namespace

double validation_loss(models::LanguageModel& model, const data::Text& text, std::int64_t count,
                       std::int64_t rows, torch::Device device) {
  const models::EvaluationMode evaluation_mode(model);
  std::vector<std::int64_t> sequences(
      static_cast<std::size_t>(std::min(count, text.validation_size())));
  std::iota(sequences.begin(), sequences.end(), 0);
  double sum = 0;
  double tokens = 0;
  in_parts(sequences, rows, [&](const std::vector<std::int64_t>& part) {
    const TokenBatch batch =
        held_out_batch(part, model.context(), device, [&](auto index, auto* inputs, auto* targets) {
          text.validation_sequence(index, inputs, targets);
        });
    const torch::Tensor losses =
        models::sequence_losses(model, model.hidden(batch.tokens), batch.targets);
    const torch::Tensor counted = batch.targets.ne(data::kIgnored).sum(1);
    sum += (losses * counted).sum().item<double>();
    tokens += counted.sum().item<double>();
  });
  return sum / tokens;
}

Evaluation LanguageEvaluator::evaluate(const std::vector<std::int64_t>& sequences,
                                       bool activations) {
  std::vector<torch::Tensor> losses;
  std::vector<torch::Tensor> vectors;
  in_parts(sequences, rows_, [&](const std::vector<std::int64_t>& part) {
    const TokenBatch batch = held_out_batch(part, model_.context(), device_,
                                            [&](auto index, auto* tokens, auto* targets) {
                                              text_.gate_sequence(index, tokens, targets);
                                            });
    const torch::Tensor hidden = model_.hidden(batch.tokens);
    losses.push_back(models::sequence_losses(model_, hidden, batch.targets));
    if (activations) vectors.push_back(hidden.select(1, hidden.size(1) - 1));
  });
  return {torch::cat(losses), activations ? torch::cat(vectors) : torch::Tensor()};
}

}  // namespace leapverify::trainer

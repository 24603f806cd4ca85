#include <leapverify/integrations/models/evaluation_mode.h>
#include <leapverify/integrations/trainer/language_evaluator.h>

#include <algorithm>
#include <numeric>

namespace leapverify::trainer {
namespace {

/// On the host, pinned where a GPU is to fetch it.
TokenBatch empty_batch(std::int64_t rows, const PassSettings& settings) {
  const auto options = torch::dtype(torch::kInt64).pinned_memory(settings.device.is_cuda());
  return {torch::empty({rows, settings.context}, options),
          torch::empty({rows, settings.context}, options)};
}

/// Does not wait for the copy; pinned memory is not reused before it is done.
TokenBatch to_device(const TokenBatch& batch, torch::Device device) {
  return {batch.tokens.to(device, /*non_blocking=*/true),
          batch.targets.to(device, /*non_blocking=*/true)};
}

/// read(index, tokens, targets) fills one row.
template <class Read>
TokenBatch held_out_batch(const std::vector<std::int64_t>& sequences, const PassSettings& settings,
                          Read read) {
  const TokenBatch batch = empty_batch(static_cast<std::int64_t>(sequences.size()), settings);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto offset = static_cast<std::int64_t>(i) * settings.context;
    read(sequences[i], batch.tokens.data_ptr<std::int64_t>() + offset,
         batch.targets.data_ptr<std::int64_t>() + offset);
  }
  return to_device(batch, settings.device);
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

TokenBatch train_batch(const data::Text& text, std::int64_t step, std::int64_t rows,
                       const PassSettings& settings) {
  const TokenBatch batch = empty_batch(rows, settings);
  text.train_batch(step, rows, batch.tokens.data_ptr<std::int64_t>(),
                   batch.targets.data_ptr<std::int64_t>());
  return to_device(batch, settings.device);
}

double validation_loss(models::LanguageModel& model, const data::Text& text, std::int64_t count,
                       const PassSettings& settings) {
  const models::EvaluationMode evaluation_mode(model);
  const models::AutocastScope autocast(settings.device.type(), settings.autocast);
  std::vector<std::int64_t> sequences(
      static_cast<std::size_t>(std::min(count, text.validation_size())));
  std::iota(sequences.begin(), sequences.end(), 0);
  double sum = 0;
  in_parts(sequences, settings.rows, [&](const std::vector<std::int64_t>& part) {
    const TokenBatch batch =
        held_out_batch(part, settings, [&](auto index, auto* tokens, auto* targets) {
          text.validation_sequence(index, tokens, targets);
        });
    sum += models::sequence_losses(model, model.hidden(batch.tokens), batch.targets)
               .sum()
               .item<double>();
  });
  return sum / static_cast<double>(sequences.size());
}

Evaluation LanguageEvaluator::evaluate(const std::vector<std::int64_t>& sequences,
                                       bool activations) {
  std::vector<torch::Tensor> losses;
  std::vector<torch::Tensor> vectors;
  const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
  in_parts(sequences, settings_.rows, [&](const std::vector<std::int64_t>& part) {
    const TokenBatch batch =
        held_out_batch(part, settings_, [&](auto index, auto* tokens, auto* targets) {
          text_.gate_sequence(index, tokens, targets);
        });
    const torch::Tensor hidden = model_.hidden(batch.tokens);
    losses.push_back(models::sequence_losses(model_, hidden, batch.targets));
    if (activations) vectors.push_back(hidden.select(1, hidden.size(1) - 1));
  });
  return {torch::cat(losses), activations ? torch::cat(vectors) : torch::Tensor()};
}

}  // namespace leapverify::trainer

#include <leapverify/integrations/models/evaluation_mode.h>
#include <leapverify/integrations/trainer/language_evaluator.h>

#include <algorithm>
#include <numeric>

namespace leapverify::trainer {
namespace {

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

double validation_loss(models::LanguageModel& model, const data::Text& text, std::int64_t count,
                       const PassSettings& settings) {
  const models::EvaluationMode evaluation_mode(model);
  const models::AutocastScope autocast(settings.device.type(), settings.autocast);
  std::vector<std::int64_t> sequences(
      static_cast<std::size_t>(std::min(count, text.validation_size())));
  std::iota(sequences.begin(), sequences.end(), 0);
  double sum = 0;
  double tokens = 0;
  in_parts(sequences, settings.rows, [&](const std::vector<std::int64_t>& part) {
    const TokenBatch batch =
        held_out_batch(part, settings, [&](auto index, auto* inputs, auto* targets) {
          text.validation_sequence(index, inputs, targets);
        });
    const torch::Tensor losses =
        models::sequence_losses(model, model.hidden(batch.tokens), batch.targets);
    const torch::Tensor counted = batch.targets.ne(models::kIgnoredTarget).sum(1);
    sum += (losses * counted).sum().item<double>();
    tokens += counted.sum().item<double>();
  });
  return sum / tokens;
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

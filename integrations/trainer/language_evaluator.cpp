#include <leapverify/integrations/models/evaluation_mode.h>
#include <leapverify/integrations/trainer/language_evaluator.h>
#include <leapverify/integrations/trainer/step_error.h>

#include <algorithm>

namespace leapverify::trainer {
namespace {

/// Of `count` sequences; read(i, tokens, targets) fills row i.
template <class Read>
TokenBatch held_out_batch(std::int64_t count, const PassSettings& settings, Read read) {
  const TokenBatch batch = empty_batch(count, settings);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t offset = i * settings.context;
    read(i, batch.tokens.data_ptr<std::int64_t>() + offset,
         batch.targets.data_ptr<std::int64_t>() + offset);
  }
  return to_device(batch, settings.device);
}

/// Calls score(first, count) for parts of held-out sequences; those that need too much memory say what to
/// lower.
template <class Score>
void in_held_out_parts(std::int64_t sequences, const PassSettings& settings, Score score) {
  in_parts(sequences, settings.rows_without_gradients(),
           [&](std::int64_t first, std::int64_t count) {
             try {
               score(first, count);
             } catch (const std::exception& error) {
               if (!is_out_of_memory(error)) throw;
               throw Error(
                   std::to_string(count) +
                   " held-out sequences do not fit into memory at once: set batch.held_out lower");
             }
           });
}

}  // namespace

double validation_loss(models::LanguageModel& model, const data::Text& text, std::int64_t count,
                       const PassSettings& settings, Collective& ranks) {
  const models::EvaluationMode evaluation_mode(model);
  const models::AutocastScope autocast(settings.device.type(), settings.autocast);
  double sum = 0;
  double tokens = 0;
  const std::int64_t scored = std::min(count, text.validation_size());
  const std::int64_t begin = scored * ranks.rank() / ranks.size();
  const std::int64_t end = scored * (ranks.rank() + 1) / ranks.size();
  const auto score = [&](std::int64_t first, std::int64_t size) {
    const TokenBatch batch =
        held_out_batch(size, settings, [&](std::int64_t i, auto* inputs, auto* targets) {
          text.validation_sequence(begin + first + i, inputs, targets);
        });
    const torch::Tensor losses =
        models::sequence_losses(model, model.hidden(batch.tokens), batch.targets);
    const torch::Tensor counted = batch.targets.ne(models::kIgnoredTarget).sum(1);
    sum += (losses * counted).sum().item<double>();
    tokens += counted.sum().item<double>();
  };
  succeed_together(ranks, [&] { in_held_out_parts(end - begin, settings, score); });
  std::vector<double> sums = {sum, tokens};
  ranks.sum(sums);
  return sums[0] / sums[1];
}

double step_cost(const torch::nn::Module& model, bool activation_checkpointing,
                 std::int64_t sequences) {
  double all = 0;
  double trained = 0;
  for (const torch::Tensor& parameter : model.parameters()) {
    const auto count = static_cast<double>(parameter.numel());
    all += count;
    if (parameter.requires_grad()) trained += count;
  }
  return static_cast<double>(sequences) * (2 + trained / all + (activation_checkpointing ? 1 : 0));
}

Evaluation LanguageEvaluator::evaluate(const std::vector<std::int64_t>& sequences,
                                       bool activations) {
  std::vector<torch::Tensor> losses;
  std::vector<torch::Tensor> vectors;
  const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
  const auto asked = static_cast<std::int64_t>(sequences.size());
  in_held_out_parts(asked, settings_, [&](std::int64_t first, std::int64_t size) {
    const TokenBatch batch =
        held_out_batch(size, settings_, [&](std::int64_t i, auto* tokens, auto* targets) {
          text_.gate_sequence(sequences[static_cast<std::size_t>(first + i)], tokens, targets);
        });
    const torch::Tensor hidden = model_.hidden(batch.tokens);
    losses.push_back(models::sequence_losses(model_, hidden, batch.targets));
    if (activations) vectors.push_back(hidden.select(1, hidden.size(1) - 1).clone());
  });
  return {torch::cat(losses), activations ? torch::cat(vectors) : torch::Tensor()};
}

}  // namespace leapverify::trainer

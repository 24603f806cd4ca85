#include <leapverify/integrations/models/gpt.h>
#include <leapverify/integrations/models/language_model.h>
#include <leapverify/integrations/models/lora.h>
#include <leapverify/integrations/models/pretrained_config.h>
#include <leapverify/integrations/models/pretrained_files.h>
#include <leapverify/integrations/models/qwen2.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <variant>

namespace leapverify::models {
namespace {

std::shared_ptr<PretrainedModel> make_plain_model(const ModelOptions& options) {
  switch (options.name) {
    case ModelName::kGpt:
      return std::make_shared<Gpt>(options.gpt);
    case ModelName::kGpt2:
      return std::make_shared<Gpt2>(options.gpt2);
    case ModelName::kQwen2:
      return std::make_shared<Qwen2>(options.qwen2);
    case ModelName::kPretrained:
      return load_pretrained(options.folder);
  }
  return nullptr;
}

/// The options of adapters, with the folder of their base as PEFT has it in adapter_config.json.
LoraOptions lora_of(const ModelOptions& options) {
  LoraOptions lora = options.lora;
  if (options.name == ModelName::kPretrained) {
    const nlohmann::json base = {{"base_model_name_or_path", options.folder}};
    // The name of a folder need not be UTF-8.
    lora.other_fields = base.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  return lora;
}

}  // namespace

torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets,
                            at::Reduction::Reduction reduction) {
  // Of logits in bf16 the loss would be rounded to 8 bits, as torch's own cross_entropy under autocast is.
  const torch::Tensor log_probabilities =
      at::log_softmax(logits.flatten(0, -2), /*dim=*/-1, torch::kFloat);
  return at::nll_loss(log_probabilities, targets.flatten(), /*weight=*/{}, reduction,
                      kIgnoredTarget);
}

torch::Tensor padded_logits(const LanguageModel& model, const torch::Tensor& hidden,
                            std::int64_t columns) {
  const torch::Tensor head = model.head();
  const std::int64_t vocabulary = head.size(0);
  const std::int64_t more = (columns - vocabulary % columns) % columns;
  if (more == 0) return model.logits(hidden);
  // A bias costs no pass of its own.
  const torch::Tensor bias = torch::zeros({vocabulary + more}, head.options().requires_grad(false));
  bias.narrow(0, vocabulary, more).fill_(-std::numeric_limits<double>::infinity());
  return torch::linear(hidden, torch::constant_pad_nd(head, {0, 0, 0, more}), bias);
}

torch::Tensor head_cross_entropy(const LanguageModel& model, const torch::Tensor& hidden,
                                 const torch::Tensor& targets, at::Reduction::Reduction reduction) {
  constexpr std::int64_t kColumns = 64;
  return cross_entropy(padded_logits(model, hidden, hidden.is_cuda() ? kColumns : 1), targets,
                       reduction);
}

torch::Tensor sequence_losses(const LanguageModel& model, const torch::Tensor& hidden,
                              const torch::Tensor& targets) {
  LV_CHECK(hidden.dim() == 3 && targets.sizes() == hidden.sizes().slice(0, 2),
           "activations " << hidden.sizes() << " with targets " << targets.sizes());
  const torch::Tensor losses = head_cross_entropy(model, hidden, targets, at::Reduction::None);
  return losses.view(targets.sizes()).sum(1) / targets.ne(kIgnoredTarget).sum(1);
}

std::shared_ptr<PretrainedModel> make_model(const ModelOptions& options) {
  std::shared_ptr<PretrainedModel> model = make_plain_model(options);
  model->set_activation_checkpointing(options.activation_checkpointing);
  if (options.lora.rank > 0) {
    try {
      add_lora(*model, lora_of(options));
    } catch (const InvalidOption& error) {
      throw InvalidOption("model.lora." + error.field(), error.value(), error.legal());
    }
  }
  return model;
}

ModelSize model_size(const ModelOptions& options) {
  switch (options.name) {
    case ModelName::kGpt:
      return {options.gpt.context, options.gpt.vocabulary};
    case ModelName::kGpt2:
      return {options.gpt2.context, options.gpt2.vocabulary};
    case ModelName::kQwen2:
      return {options.qwen2.context, options.qwen2.vocabulary};
    case ModelName::kPretrained:
      return std::visit(
          [](const auto& read) {
            return ModelSize{read.context, read.vocabulary};
          },
          read_pretrained_config(options.folder));
  }
  return {};
}

}  // namespace leapverify::models

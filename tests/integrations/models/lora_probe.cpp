// What a model with adapters computes, for comparison with PEFT.
//
// Usage: lora_probe load FOLDER TOKENS OUT ADAPTERS SAVED MERGED
//        lora_probe make FOLDER TOKENS OUT ADAPTERS
// Both read "tokens" [batch × time] from TOKENS and write to OUT "logits", "loss" (of each token
// but the first, given those before it) and all gradients of the loss that there are, as
// "gradient.NAME". load takes ADAPTERS, saves them again to SAVED, and the merged model to MERGED.
// make trains fresh ones for a few steps and saves them to ADAPTERS.
#include <leapverify/integrations/models/lora.h>
#include <leapverify/integrations/models/pretrained_files.h>
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/safetensors.h>

#include <cstdio>

namespace leapverify::models {
namespace {

torch::Tensor loss_of(PretrainedModel& model, const torch::Tensor& tokens) {
  return sequence_losses(model, model.hidden(tokens).slice(1, 0, -1), tokens.slice(1, 1)).mean();
}

void append_gradients(const std::vector<StoredWeight>& weights, NamedTensors* results) {
  for (const StoredWeight& weight : weights) {
    const torch::Tensor& gradient = weight.parameter.grad();
    if (gradient.defined()) {
      results->emplace_back("gradient." + weight.name, weight.as_stored(gradient));
    }
  }
}

void write_results(PretrainedModel& model, const torch::Tensor& tokens, const std::string& out) {
  model.eval();
  model.zero_grad();
  const torch::Tensor loss = loss_of(model, tokens);
  loss.backward();
  NamedTensors results = {{"logits", model.forward(tokens)}, {"loss", loss}};
  append_gradients(model.stored_weights().weights, &results);
  append_gradients(lora_weights(model), &results);
  replace_file(out, to_safetensors(results));
}

void load(const char* const* arguments) {
  const auto model = load_pretrained(arguments[0]);
  const torch::Tensor tokens = map_safetensors(arguments[1]).at(0).second;
  load_lora(*model, arguments[3]);
  write_results(*model, tokens, arguments[2]);
  save_lora(*model, arguments[4]);
  merge_lora(*model);
  save_pretrained(*model, arguments[5]);
}

void make(const char* const* arguments) {
  const auto model = load_pretrained(arguments[0]);
  const torch::Tensor tokens = map_safetensors(arguments[1]).at(0).second;
  LoraOptions options;
  options.rank = 3;
  options.dropout = 0.1;
  add_lora(*model, options);
  torch::optim::AdamW adamw(model->parameters(), torch::optim::AdamWOptions(1e-2));
  for (int step = 0; step < 5; ++step) {
    adamw.zero_grad();
    loss_of(*model, tokens).backward();
    adamw.step();
  }
  write_results(*model, tokens, arguments[2]);
  save_lora(*model, arguments[3]);
}

}  // namespace
}  // namespace leapverify::models

int main(int count, char** arguments) {
  const std::string task = count > 1 ? arguments[1] : "";
  if (!(task == "load" && count == 8) && !(task == "make" && count == 6)) {
    std::fprintf(stderr,
                 "usage: %s load FOLDER TOKENS OUT ADAPTERS SAVED MERGED\n"
                 "       %s make FOLDER TOKENS OUT ADAPTERS\n",
                 arguments[0], arguments[0]);
    return 2;
  }
  try {
    if (task == "load") {
      leapverify::models::load(arguments + 2);
    } else {
      leapverify::models::make(arguments + 2);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", leapverify::error_text(error).c_str());
    return 1;
  }
  return 0;
}

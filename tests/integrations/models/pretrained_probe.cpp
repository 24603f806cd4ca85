// What a model in a folder computes, for comparison with transformers.
//
// Usage: pretrained_probe FOLDER TOKENS OUT [SAVED MAX_SHARD_BYTES]
// Reads "tokens" [batch × time] from TOKENS; writes to OUT "logits", "loss" (of each token but the
// first, given those before it) and the gradient of the loss to each weight, "gradient.NAME" in the
// layout of the weight's file. Then saves the model to SAVED.
#include <leapverify/integrations/models/pretrained_files.h>
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/safetensors.h>

#include <cstdio>

namespace leapverify::models {
namespace {

void probe(const std::string& folder, const std::string& tokens_file, const std::string& out) {
  const auto model = load_pretrained(folder);
  model->eval();
  const torch::Tensor tokens = map_safetensors(tokens_file).at(0).second;
  const torch::Tensor hidden = model->hidden(tokens);
  const torch::Tensor loss =
      sequence_losses(*model, hidden.slice(1, 0, -1), tokens.slice(1, 1)).mean();
  loss.backward();
  NamedTensors results = {{"logits", model->logits(hidden)}, {"loss", loss}};
  for (const StoredWeight& weight : model->stored_weights().weights) {
    results.emplace_back("gradient." + weight.name, weight.as_stored(weight.parameter.grad()));
  }
  replace_file(out, to_safetensors(results));
}

}  // namespace
}  // namespace leapverify::models

int main(int count, char** arguments) {
  if (count != 4 && count != 6) {
    std::fprintf(stderr, "usage: %s FOLDER TOKENS OUT [SAVED MAX_SHARD_BYTES]\n", arguments[0]);
    return 2;
  }
  try {
    leapverify::models::probe(arguments[1], arguments[2], arguments[3]);
    if (count == 6) {
      save_pretrained(*leapverify::models::load_pretrained(arguments[1]), arguments[4],
                      std::stoll(arguments[5]));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", leapverify::error_text(error).c_str());
    return 1;
  }
  return 0;
}

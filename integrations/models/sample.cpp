#include <ATen/CPUGeneratorImpl.h>
#include <leapverify/integrations/models/evaluation_mode.h>
#include <leapverify/integrations/models/sample.h>

#include <algorithm>

namespace leapverify::models {
namespace {

std::int64_t draw(const torch::Tensor& logits, double temperature, at::Generator& generator) {
  if (temperature == 0) return logits.argmax().item<std::int64_t>();
  const torch::Tensor probabilities = torch::softmax(logits / temperature, 0);
  return torch::multinomial(probabilities, 1, /*replacement=*/false, generator)
      .item<std::int64_t>();
}

}  // namespace

std::vector<std::int64_t> sample(LanguageModel& model, const std::vector<std::int64_t>& prompt,
                                 std::int64_t length, double temperature, std::uint64_t seed,
                                 std::int64_t choices) {
  LV_CHECK(!prompt.empty(), "the prompt is empty");
  LV_CHECK(temperature >= 0 && length >= 0,
           "temperature " << temperature << ", length " << length << ", expected neither below 0");
  LV_CHECK(choices >= 1, "a draw among " << choices << " tokens, expected at least 1");
  const EvaluationMode evaluation_mode(model);
  const torch::Device device = model.parameters().front().device();
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);

  std::vector<std::int64_t> tokens = prompt;
  for (std::int64_t written = 0; written < length; ++written) {
    const auto seen = std::min(static_cast<std::int64_t>(tokens.size()), model.context());
    const torch::Tensor window =
        torch::tensor(torch::ArrayRef(tokens).slice(tokens.size() - static_cast<std::size_t>(seen)),
                      torch::kInt64);
    const torch::Tensor hidden = model.hidden(window.to(device).unsqueeze(0));
    const torch::Tensor logits = model.logits(hidden[0][seen - 1]).to(torch::kCPU, torch::kDouble);
    tokens.push_back(
        draw(logits.narrow(0, 0, std::min(choices, logits.size(0))), temperature, generator));
  }
  tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(prompt.size()));
  return tokens;
}

}  // namespace leapverify::models

// Lets a language model write on.
#pragma once

#include <leapverify/integrations/models/language_model.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace leapverify::models {

/// `length` tokens that continue `prompt`, each drawn from softmax(logits / temperature) of the
/// last context() tokens, among the first `choices` tokens that the model knows; temperature 0 takes
/// the likeliest. Runs in evaluation mode without
/// gradients, then restores the model's mode. Draws from a generator of its own: the same seed
/// writes the same text, and the global RNG is not touched. Throws ContractError for an empty
/// prompt, a negative temperature or length, or `choices` below 1.
std::vector<std::int64_t> sample(LanguageModel& model, const std::vector<std::int64_t>& prompt,
                                 std::int64_t length, double temperature, std::uint64_t seed,
                                 std::int64_t choices = std::numeric_limits<std::int64_t>::max());

}  // namespace leapverify::models

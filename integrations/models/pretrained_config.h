// Hugging Face's config.json: from its text to the options of a model, and back.
#pragma once

#include <leapverify/integrations/models/gpt2_options.h>
#include <leapverify/integrations/models/qwen2_options.h>

#include <string>
#include <variant>

namespace leapverify::models {

using PretrainedOptions = std::variant<Gpt2Options, Qwen2Options>;

/// `source` names the file in messages. Sizes, epsilons and the rotary base must be there; what
/// else is missing has the value that transformers gives it. Throws FormatError, which names the
/// field, for a model_type that is neither "gpt2" nor "qwen2", for settings that would make it
/// another model than those here, as a sliding window in use or scaled rotary positions, and for
/// missing or illegal fields.
PretrainedOptions parse_pretrained_config(const std::string& text, const std::string& source);

/// The text of a config.json; `dtype` is that of the weights, as in "float32". Both versions 4 and
/// 5 of transformers read it.
std::string pretrained_config(Gpt2Options options, const std::string& dtype);
std::string pretrained_config(Qwen2Options options, const std::string& dtype);

}  // namespace leapverify::models

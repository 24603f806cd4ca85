// PEFT's adapter_config.json: from its text to the options of adapters, and back. Internal.
#pragma once

#include <leapverify/integrations/models/lora_options.h>

#include <string>

namespace leapverify::models {

/// `source` names the file in messages. Rank, alpha and the names of layers must be there; what
/// else is missing has the value that PEFT gives it. Throws FormatError, which names the field, for
/// a peft_type other than "LORA", for features in use that are not here, known to PEFT of today or
/// not, and for missing or illegal fields.
LoraOptions parse_lora_config(const std::string& text, const std::string& source);

/// Throws FormatError for the error of an option, under its name in the file.
[[noreturn]] void refuse_lora_config(const InvalidOption& error, const std::string& source);

/// The text of an adapter_config.json; `transposed`: whether transformers holds the transposes of
/// the layers' matrices.
std::string lora_config(const LoraOptions& options, bool transposed);

}  // namespace leapverify::models

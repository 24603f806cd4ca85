// What a tokenizer.json of Hugging Face's tokenizers says of its tokens.
#pragma once

#include <filesystem>

namespace leapverify::data {

/// Whether both files can be read as such and do not give the same tokens the same numbers; added
/// tokens aside.
bool vocabularies_differ(const std::filesystem::path& one, const std::filesystem::path& other);

}  // namespace leapverify::data

// Tensors in Hugging Face's safetensors format: an 8-byte little-endian header length, a JSON
// header, the raw bytes. Source: https://huggingface.co/docs/safetensors
#pragma once

#include <ATen/core/Tensor.h>
#include <leapverify/runtime/durable_files.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace leapverify {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// The bytes of a file with these tensors, in this order, and with `metadata`, where there is any,
/// in its header. Throws FormatError for a name given twice or reserved ("__metadata__"), or a dtype
/// that the format lacks.
std::string to_safetensors(const NamedTensors& tensors,
                           const std::map<std::string, std::string>& metadata = {});

/// Tensors on the CPU, with memory of their own, in the order of their bytes. `source` names the
/// file in messages. Throws FormatError for a header that is too long, no JSON object, or gives a
/// key twice, for an unknown dtype, numbers that are not whole, offsets outside the data, overlaps,
/// gaps, or a size that does not fit the shape.
NamedTensors from_safetensors(const std::string& bytes, const std::string& source);

/// As from_safetensors(), of a file that is mapped into memory in place of being read: the tensors
/// are views of one MappedFile, which lives as long as any of them. Only those whose bytes begin at
/// no multiple of their element size, which the format allows, are copied. Throws FileError too.
NamedTensors map_safetensors(const std::filesystem::path& path);

/// The tensor of that name. Throws FormatError when it is missing or has another shape or dtype
/// than `like`.
const at::Tensor& find_like(const NamedTensors& tensors, const std::string& name,
                            const at::Tensor& like, const std::string& source);

}  // namespace leapverify

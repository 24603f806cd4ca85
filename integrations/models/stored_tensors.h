// What all readers and writers of folders of weights share. Internal.
#pragma once

#include <leapverify/integrations/models/pretrained_model.h>
#include <leapverify/runtime/safetensors.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace leapverify::models {

/// A tensor of a file, under its name there.
struct FoundTensor {
  std::string name;
  torch::Tensor tensor;
  std::filesystem::path file;

  /// The beginning of a message on it.
  std::string where() const;
};

/// As in "[2, 3]".
std::string shape_text(at::IntArrayRef shape);

/// The tensors of a safetensors file, in memory that is mapped.
std::vector<FoundTensor> map_tensors(const std::filesystem::path& file);

/// Throws FormatError unless `found` may be copied into a tensor of this shape.
void check_fits(const FoundTensor& found, at::IntArrayRef shape);

/// For each weight the tensor to copy into as_stored(parameter), out of `found`, which has them by
/// name and is from `folder`. Throws FormatError for one that is missing, does not fit or is no
/// weight.
std::vector<torch::Tensor> match(const std::vector<StoredWeight>& weights,
                                 std::map<std::string, FoundTensor> found,
                                 const std::filesystem::path& folder);

/// Copies what match() found.
void copy_into(const std::vector<StoredWeight>& weights, const std::vector<torch::Tensor>& tensors);

/// Makes a folder with the files that `write` puts into the folder it is given; complete or not
/// there, even after a crash. Throws FileError, also when `folder` exists.
void write_folder(const std::filesystem::path& folder,
                  const std::function<void(const std::filesystem::path&)>& write);

}  // namespace leapverify::models

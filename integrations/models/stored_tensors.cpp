#include <leapverify/integrations/models/stored_tensors.h>
#include <leapverify/runtime/strict_json.h>

#include <sstream>
#include <utility>

namespace leapverify::models {

namespace fs = std::filesystem;

std::string FoundTensor::where() const {
  return file.string() + ": tensor '" + excerpt(name) + "' ";
}

std::string shape_text(at::IntArrayRef shape) {
  std::ostringstream stream;
  stream << shape;
  return stream.str();
}

std::vector<FoundTensor> map_tensors(const fs::path& file) {
  std::vector<FoundTensor> found;
  for (auto& [name, tensor] : map_safetensors(file)) found.push_back({name, tensor, file});
  return found;
}

void check_fits(const FoundTensor& found, at::IntArrayRef shape) {
  if (found.tensor.sizes() != shape) {
    throw FormatError(found.where() + "has shape " + shape_text(found.tensor.sizes()) +
                      ", expected " + shape_text(shape));
  }
  if (!found.tensor.is_floating_point()) {
    throw FormatError(found.where() + shape_text(shape) + " is " +
                      at::toString(found.tensor.scalar_type()) +
                      ", expected floating-point numbers");
  }
}

std::vector<torch::Tensor> match(const std::vector<StoredWeight>& weights,
                                 std::map<std::string, FoundTensor> found, const fs::path& folder) {
  std::vector<torch::Tensor> tensors;
  for (const StoredWeight& weight : weights) {
    const torch::Tensor target = weight.as_stored(weight.parameter);
    const auto source = found.find(weight.name);
    if (source == found.end()) {
      throw FormatError(folder.string() + ": tensor '" + weight.name + "' " +
                        shape_text(target.sizes()) + " is missing");
    }
    check_fits(source->second, target.sizes());
    tensors.push_back(source->second.tensor);
    found.erase(source);
  }
  if (!found.empty()) {
    const FoundTensor& surplus = found.begin()->second;
    throw FormatError(surplus.where() + shape_text(surplus.tensor.sizes()) +
                      " is no part of the model, expected " + std::to_string(weights.size()) +
                      " tensors from '" + weights.front().name + "' to '" + weights.back().name +
                      "'");
  }
  return tensors;
}

void copy_into(const std::vector<StoredWeight>& weights,
               const std::vector<torch::Tensor>& tensors) {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    weights[i].as_stored(weights[i].parameter).copy_(tensors[i]);
  }
}

void write_folder(const fs::path& folder, const std::function<void(const fs::path&)>& write) {
  if (fs::exists(folder)) throw FileError(folder.string() + ": exists already");
  // A path that ends in a slash has no name to add to.
  const fs::path final_name = folder.has_filename() ? folder : folder.parent_path();
  fs::path incomplete = final_name;
  incomplete += ".incomplete";
  if (fs::exists(incomplete)) remove_tree(incomplete);
  create_folders(final_name.parent_path());
  create_folder(incomplete);
  write(incomplete);
  publish_folder(incomplete, final_name);
}

}  // namespace leapverify::models

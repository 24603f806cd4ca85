// Low-rank adapters beside the linear layers of a model: they alone are trained.
// Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, arXiv 2106.09685.
#pragma once

#include <leapverify/integrations/models/pretrained_model.h>

#include <filesystem>
#include <vector>

namespace leapverify::models {

/// Freezes all weights and gives each layer that options.targets name an adapter, whose A is drawn
/// from torch's global RNG; at first the model computes bitwise what it did. Throws InvalidOption,
/// also for rank 0 and for a target that names no linear layer of a block, and ContractError for a
/// model that has adapters.
void add_lora(PretrainedModel& model, const LoraOptions& options);

/// Adds to the matrices of the layers what their adapters add, and removes these; then all weights
/// are trained again. Throws ContractError for a model without adapters.
void merge_lora(PretrainedModel& model);

/// Adapters from a folder as PEFT writes it, adapter_config.json beside adapter_model.safetensors.
/// As add_lora(), with the dropout of the file; tensors may have any floating-point dtype. Throws
/// FileError, ContractError for a model that has adapters, and FormatError for an
/// adapter_config.json that is not LoRA alone, targets that name no layer, and tensors that are
/// missing, no part of the adapters, of another shape or not of floating-point; then the model is
/// unchanged.
void load_lora(PretrainedModel& model, const std::filesystem::path& folder);

/// Writes a folder that load_lora() and PEFT read; complete or not there, even after a crash.
/// Throws FileError, also when `folder` exists, and ContractError for a model without adapters.
void save_lora(const PretrainedModel& model, const std::filesystem::path& folder);

/// A and B of every adapter, under their names in the file, sharing their memory.
std::vector<StoredWeight> lora_weights(const PretrainedModel& model);

}  // namespace leapverify::models

// What a run is made of, from its config: device, precision, sizes and the model.
#pragma once

#include <leapverify/integrations/models/pretrained_model.h>
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/token_batch.h>

#include <memory>

namespace leapverify::trainer {

/// Of a run on this machine; chooses the precision of fp32 products on CUDA for the whole process.
/// Throws InvalidOption for what the machine, the model or the text does not allow.
PassSettings pass_settings(const Config& config);

/// The model on its device, in training mode. Seeds torch and sets its number of threads first: the
/// initial weights are drawn when the model is made. Throws InvalidOption, and as make_model().
std::shared_ptr<models::PretrainedModel> make_seeded_model(const Config& config,
                                                           torch::Device device);

}  // namespace leapverify::trainer

// What a run is made of, from its config: device, precision, sizes and the model.
#pragma once

#include <leapverify/integrations/distributed/launch.h>
#include <leapverify/integrations/models/pretrained_model.h>
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/token_batch.h>

#include <memory>

namespace leapverify::trainer {

/// Of a run on this machine, for one of its ranks; chooses the precision of fp32 products on CUDA for
/// the whole process. Throws InvalidOption for what the machine, the model, the text or the number of
/// ranks does not allow.
PassSettings pass_settings(const Config& config, const distributed::Launch& launch);

/// The model on its device, in training mode. Seeds torch and sets its number of threads first: the
/// initial weights are drawn when the model is made, alike on all ranks, which then have random
/// numbers of their own. Throws InvalidOption, and as make_model().
std::shared_ptr<models::PretrainedModel> make_seeded_model(const Config& config,
                                                           torch::Device device,
                                                           const distributed::Launch& launch);

/// Seeds torch for the steps of a rank from `step` on; rank 0 at step 0 goes on where it is.
void seed_rank(const Config& config, const distributed::Launch& launch, std::int64_t step);

}  // namespace leapverify::trainer

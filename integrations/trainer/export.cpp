#include <leapverify/integrations/models/lora.h>
#include <leapverify/integrations/models/pretrained_files.h>
#include <leapverify/integrations/trainer/config_changes.h>
#include <leapverify/integrations/trainer/export.h>
#include <leapverify/integrations/trainer/loop_state.h>
#include <leapverify/integrations/trainer/run_checkpoint.h>
#include <leapverify/integrations/trainer/run_folder.h>

namespace leapverify::trainer {
namespace {

/// Of a checkpoint, with the config of then: a resumed run may have changed keys that no tensor's shape
/// tells.
std::shared_ptr<models::PretrainedModel> stored_model(const std::filesystem::path& run,
                                                      std::optional<std::int64_t> step) {
  const Config last = load_config("", config_of_run(run).string(), {});
  const Checkpoint checkpoint = load_or_name_others(run, step);
  const LoopState loop =
      loop_state_from(json_part(checkpoint, "trainer", run.string()), run.string());
  Config config = without_changes(last, config_changes(loop.config, last));
  // It may have been moved, and lies where it lies now.
  config.model.folder = last.model.folder;
  auto model = models::make_model(config.model);
  restore_model(*model, checkpoint, run.string());
  return model;
}

}  // namespace

void export_model(const std::filesystem::path& run, std::optional<std::int64_t> step,
                  const std::filesystem::path& folder, bool merged) {
  const auto model = stored_model(run, step);
  if (model->lora().rank == 0) {
    models::save_pretrained(*model, folder);
  } else if (merged) {
    models::merge_lora(*model);
    models::save_pretrained(*model, folder);
  } else {
    models::save_lora(*model, folder);
  }
}

}  // namespace leapverify::trainer

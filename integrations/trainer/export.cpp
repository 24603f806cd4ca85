#include <leapverify/integrations/models/lora.h>
#include <leapverify/integrations/models/pretrained_files.h>
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/export.h>
#include <leapverify/integrations/trainer/run_checkpoint.h>
#include <leapverify/integrations/trainer/run_folder.h>

namespace leapverify::trainer {

void export_model(const std::filesystem::path& run, std::optional<std::int64_t> step,
                  const std::filesystem::path& folder, bool merged) {
  const Config config = load_config("", config_of_run(run).string(), {});
  const auto model = models::make_model(config.model);
  restore_model(*model, load_or_name_others(run, step), run.string());
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

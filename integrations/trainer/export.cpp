#include <leapverify/integrations/models/pretrained_files.h>
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/export.h>
#include <leapverify/integrations/trainer/run_checkpoint.h>
#include <leapverify/integrations/trainer/run_folder.h>

namespace leapverify::trainer {

void export_model(const std::filesystem::path& run, std::optional<std::int64_t> step,
                  const std::filesystem::path& folder) {
  const Config config = load_config("", config_of_run(run).string(), {});
  const auto model = models::make_model(config.model);
  restore_model(*model, load_or_name_others(run, step), run.string());
  models::save_pretrained(*model, folder);
}

}  // namespace leapverify::trainer

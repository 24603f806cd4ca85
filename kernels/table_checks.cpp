// One message for each way in which tables can fail to fit.
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/table_checks.h>

namespace leapverify::kernels {

void check_same_shape(const SegmentTable& expected, const std::string& expected_name,
                      const SegmentTable& actual, const std::string& actual_name) {
  LV_CHECK(expected.device() == actual.device(),
           actual_name << " is on " << name_of(actual.device()) << ", " << expected_name << " on "
                       << name_of(expected.device()));
  LV_CHECK(expected.segments().size() == actual.segments().size(),
           actual_name << " has " << actual.segments().size() << " segments, " << expected_name
                       << " has " << expected.segments().size());
  if (expected.shape_digest() == actual.shape_digest()) {
    return;
  }
  for (std::size_t s = 0; s < expected.segments().size(); ++s) {
    LV_CHECK(expected.segments()[s].length == actual.segments()[s].length,
             actual_name << " has length " << actual.segments()[s].length << " in segment " << s
                         << ", " << expected_name << " has " << expected.segments()[s].length);
  }
}

void check_floating(const SegmentTable& table, const std::string& name) {
  if (table.is_floating()) {
    return;
  }
  for (std::size_t s = 0; s < table.segments().size(); ++s) {
    const DType dtype = table.segments()[s].dtype;
    LV_CHECK(dtype != DType::kBytes, name << " has dtype " << name_of(dtype) << " in segment " << s
                                          << ", expected a floating dtype");
  }
}

void check_sources(const std::vector<const SegmentTable*>& sources) {
  LV_CHECK(!sources.empty() && sources.size() <= kMaxSources,
           sources.size() << " sources, expected 1 to " << kMaxSources);
  for (std::size_t k = 0; k < sources.size(); ++k) {
    const std::string name = "source " + std::to_string(k);
    LV_CHECK(sources[k] != nullptr, name << " is null");
    check_floating(*sources[k], name);
    check_same_shape(*sources.front(), "source 0", *sources[k], name);
  }
}

}  // namespace leapverify::kernels

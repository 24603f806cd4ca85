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

void check_destinations(const std::vector<const SegmentTable*>& destinations,
                        const SegmentTable& source) {
  LV_CHECK(!destinations.empty() && destinations.size() <= kMaxDestinations,
           destinations.size() << " destinations, expected 1 to " << kMaxDestinations);
  for (std::size_t d = 0; d < destinations.size(); ++d) {
    const std::string name =
        destinations.size() == 1 ? "destination" : "destination " + std::to_string(d);
    LV_CHECK(destinations[d] != nullptr, name << " is null");
    check_floating(*destinations[d], name);
    check_same_shape(*destinations[d], name, source, "source 0");
    if (d > 0) {
      check_same_dtypes(*destinations.front(), "destination 0", *destinations[d], name);
    }
  }
}

void check_same_dtypes(const SegmentTable& expected, const std::string& expected_name,
                       const SegmentTable& actual, const std::string& actual_name) {
  for (std::size_t s = 0; s < expected.segments().size(); ++s) {
    const DType wanted = expected.segments()[s].dtype;
    const DType found = actual.segments()[s].dtype;
    LV_CHECK(wanted == found, actual_name << " has dtype " << name_of(found) << " in segment " << s
                                          << ", " << expected_name << " has " << name_of(wanted));
  }
}

void check_rows(const SegmentTable& table, const std::int32_t* row_of_segment, std::int64_t rows) {
  for (std::size_t s = 0; s < table.segments().size() && row_of_segment != nullptr; ++s) {
    LV_CHECK(row_of_segment[s] >= 0 && row_of_segment[s] < rows,
             "segment " << s << " has coefficient row " << row_of_segment[s] << ", expected 0 to "
                        << rows - 1);
  }
}

}  // namespace leapverify::kernels

// Checks that several kernels make of their tables; all throw ContractError.
#pragma once

#include <leapverify/kernels/segment_table.h>

#include <string>
#include <vector>

namespace leapverify::kernels {

/// Both lie on one device and hold segments of the same lengths in the same order.
void check_same_shape(const SegmentTable& expected, const std::string& expected_name,
                      const SegmentTable& actual, const std::string& actual_name);

/// Every segment can be computed with.
void check_floating(const SegmentTable& table, const std::string& name);

/// There are 1 to kMaxSources, none null, all floating and of the shape of the first.
void check_sources(const std::vector<const SegmentTable*>& sources);

/// There are 1 to kMaxDestinations, none null, all floating, of the shape of source 0 and with the
/// dtypes of the first.
void check_destinations(const std::vector<const SegmentTable*>& destinations,
                        const SegmentTable& source);

/// Both have the same dtypes, segment by segment.
void check_same_dtypes(const SegmentTable& expected, const std::string& expected_name,
                       const SegmentTable& actual, const std::string& actual_name);

/// Every entry of `row_of_segment` (on the CPU; null: nothing to check) lies in [0, rows).
void check_rows(const SegmentTable& table, const std::int32_t* row_of_segment, std::int64_t rows);

}  // namespace leapverify::kernels

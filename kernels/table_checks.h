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

}  // namespace leapverify::kernels

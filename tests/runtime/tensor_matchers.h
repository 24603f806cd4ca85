// Bitwise comparison of tensors that names the first bad place.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace leapverify {

/// Same dtype, shape and bytes (signed zeros and NaN payloads included).
inline ::testing::AssertionResult bitwise_equal(const at::Tensor& a, const at::Tensor& b) {
  if (a.defined() != b.defined()) return ::testing::AssertionFailure() << "only one is defined";
  if (!a.defined()) return ::testing::AssertionSuccess();
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) {
    return ::testing::AssertionFailure() << a.scalar_type() << " " << a.sizes() << " against "
                                         << b.scalar_type() << " " << b.sizes();
  }
  const at::Tensor left = a.detach().cpu().contiguous().flatten();
  const at::Tensor right = b.detach().cpu().contiguous().flatten();
  const auto size = static_cast<std::size_t>(left.element_size());
  for (std::int64_t i = 0; i < left.numel(); ++i) {
    const auto offset = static_cast<std::size_t>(i) * size;
    if (std::memcmp(static_cast<const char*>(left.data_ptr()) + offset,
                    static_cast<const char*>(right.data_ptr()) + offset, size) != 0) {
      return ::testing::AssertionFailure()
             << "first difference at element " << i << " of " << left.numel() << ": " << left[i]
             << " against " << right[i];
    }
  }
  return ::testing::AssertionSuccess();
}

/// Lists of tensors, each bitwise equal.
inline ::testing::AssertionResult bitwise_equal(const std::vector<at::Tensor>& a,
                                                const std::vector<at::Tensor>& b) {
  if (a.size() != b.size()) {
    return ::testing::AssertionFailure() << a.size() << " tensors against " << b.size();
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    const ::testing::AssertionResult same = bitwise_equal(a[i], b[i]);
    if (!same) return ::testing::AssertionFailure() << "tensor " << i << ": " << same.message();
  }
  return ::testing::AssertionSuccess();
}

/// Lists of named tensors: same names in the same order, each bitwise equal.
inline ::testing::AssertionResult bitwise_equal(
    const std::vector<std::pair<std::string, at::Tensor>>& a,
    const std::vector<std::pair<std::string, at::Tensor>>& b) {
  if (a.size() != b.size()) {
    return ::testing::AssertionFailure() << a.size() << " tensors against " << b.size();
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].first != b[i].first) {
      return ::testing::AssertionFailure() << a[i].first << " against " << b[i].first;
    }
    const ::testing::AssertionResult same = bitwise_equal(a[i].second, b[i].second);
    if (!same) return ::testing::AssertionFailure() << a[i].first << ": " << same.message();
  }
  return ::testing::AssertionSuccess();
}

}  // namespace leapverify

// Extrapolates two arrays with the installed kernels and checks the result.
#include <leapverify/kernels/combine.h>

#include <array>
#include <cstdint>
#include <iostream>

namespace kernels = leapverify::kernels;

namespace {

template <std::size_t N>
kernels::SegmentTable table_of(std::array<float, N>& values) {
  return kernels::SegmentTable(
      {{values.data(), static_cast<std::int64_t>(N), kernels::DType::kFloat32}});
}

}  // namespace

int main() {
  std::array<float, 3> older{1.0F, 2.0F, 3.0F};
  std::array<float, 3> newer{2.0F, 4.0F, 6.0F};
  std::array<float, 3> result{};
  const auto older_table = table_of(older);
  const auto newer_table = table_of(newer);
  const auto result_table = table_of(result);
  const std::array<double, 2> values{-1.0, 2.0};
  kernels::Coefficients coefficients;
  coefficients.values = values.data();

  kernels::combine(result_table, {&older_table, &newer_table}, coefficients);

  std::cout << "2 * newer - older = " << result[0] << ' ' << result[1] << ' ' << result[2] << '\n';
  return result == std::array<float, 3>{3.0F, 6.0F, 9.0F} ? 0 : 1;
}

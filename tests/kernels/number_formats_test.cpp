// Conversions against a slow oracle that looks a value up between the two neighbours of the format.
#include <leapverify/kernels/mix.h>
#include <leapverify/kernels/number_formats.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace leapverify::kernels {
namespace {

struct Format {
  int mantissa_bits;
  int exponent_bits;
};
constexpr Format kHalf = {10, 5};
constexpr Format kBrain = {7, 8};

/// The number that 16 bits stand for, by the definition of IEEE 754.
double decode(Format format, std::uint16_t bits) {
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  const int exponent = (bits >> format.mantissa_bits) & ((1 << format.exponent_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << format.exponent_bits) - 1) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) {
    return sign * std::ldexp(mantissa, 1 - bias - format.mantissa_bits);
  }
  return sign *
         std::ldexp(mantissa + (1 << format.mantissa_bits), exponent - bias - format.mantissa_bits);
}

/// Nearest, ties to even, for a value that is not NaN.
std::uint16_t encode(Format format, double value) {
  const auto infinity =
      static_cast<std::uint16_t>(((1 << format.exponent_bits) - 1) << format.mantissa_bits);
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  // Patterns of positive numbers are ordered as the numbers are: find the largest not above.
  int low = 0;
  int high = infinity;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (decode(format, static_cast<std::uint16_t>(middle)) <= magnitude ? low : high) = middle;
  }
  // Infinity takes the place of the number that would follow the largest.
  const double below = decode(format, static_cast<std::uint16_t>(low));
  const double above = high == infinity
                           ? below + (below - decode(format, static_cast<std::uint16_t>(low - 1)))
                           : decode(format, static_cast<std::uint16_t>(high));
  const double middle = below + (above - below) / 2;
  const bool up = magnitude > middle || (magnitude == middle && low % 2 == 1);
  return static_cast<std::uint16_t>(sign | (up ? high : low));
}

TEST(NumberFormats, EveryPatternWidensToWhatItStandsFor) {
  for (int pattern = 0; pattern < 65536; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const double half = decode(kHalf, bits);
    const double brain = decode(kBrain, bits);
    const float half_actual = to_float(Float16{bits});
    const float brain_actual = to_float(BFloat16{bits});
    if (std::isnan(half)) {
      ASSERT_TRUE(std::isnan(half_actual)) << "float16 pattern " << pattern;
    } else {
      ASSERT_EQ(bits_of(static_cast<double>(half_actual)), bits_of(half))
          << "float16 pattern " << pattern;
    }
    if (std::isnan(brain)) {
      ASSERT_TRUE(std::isnan(brain_actual)) << "bfloat16 pattern " << pattern;
    } else {
      ASSERT_EQ(bits_of(static_cast<double>(brain_actual)), bits_of(brain))
          << "bfloat16 pattern " << pattern;
    }
  }
}

TEST(NumberFormats, EveryPatternSurvivesTheRoundTripWithNaNMadeQuiet) {
  for (int pattern = 0; pattern < 65536; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const bool half_nan = (bits & 0x7fff) > 0x7c00;
    const bool brain_nan = (bits & 0x7fff) > 0x7f80;
    ASSERT_EQ(bits_of(to_float16(to_float(Float16{bits}))), half_nan ? bits | 0x0200 : bits);
    ASSERT_EQ(bits_of(to_bfloat16(to_float(BFloat16{bits}))), brain_nan ? bits | 0x0040 : bits);
    ASSERT_EQ(is_finite(Float16{bits}), std::isfinite(to_float(Float16{bits})));
    ASSERT_EQ(is_finite(BFloat16{bits}), std::isfinite(to_float(BFloat16{bits})));
  }
}

/// All numbers of a format, the middles between neighbours, and what lies just beside each.
std::vector<double> critical_values(Format format) {
  std::vector<double> values;
  const int infinity = ((1 << format.exponent_bits) - 1) << format.mantissa_bits;
  for (int pattern = 0; pattern < infinity; ++pattern) {
    const double below = decode(format, static_cast<std::uint16_t>(pattern));
    const double step = pattern + 1 < infinity
                            ? decode(format, static_cast<std::uint16_t>(pattern + 1)) - below
                            : below - decode(format, static_cast<std::uint16_t>(pattern - 1));
    for (const double value : {below, below + step / 2}) {
      values.push_back(value);
      values.push_back(-value);
      values.push_back(std::nextafter(value, 1e300));
      values.push_back(std::nextafter(value, -1.0));
    }
  }
  for (const double value : {1e300, 1e-300, 4e38, 1e-45, 1e-46, 65504.0, 65519.999, 65520.0, 7e4}) {
    values.push_back(value);
    values.push_back(-value);
  }
  values.push_back(std::numeric_limits<double>::infinity());
  values.push_back(-std::numeric_limits<double>::infinity());
  return values;
}

TEST(NumberFormats, DoublesRoundOnceAtEveryTieAndBesideIt) {
  for (const double value : critical_values(kHalf)) {
    ASSERT_EQ(bits_of(narrow<Float16>(value)), encode(kHalf, value)) << value << " to float16";
  }
  for (const double value : critical_values(kBrain)) {
    ASSERT_EQ(bits_of(narrow<BFloat16>(value)), encode(kBrain, value)) << value << " to bfloat16";
  }
}

TEST(NumberFormats, FloatsRoundToNearestEverywhere) {
  const std::uint64_t seed = 20240817;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::vector<float> values;
  for (int i = 0; i < 300000; ++i) {
    values.push_back(float_of_bits(static_cast<std::uint32_t>(random())));
    // Exponents around float16's range, its subnormals included.
    values.push_back(std::ldexp(1.0f + static_cast<float>(random() % 4096) / 4096.0f,
                                static_cast<int>(random() % 44) - 27));
  }
  for (const Format format : {kHalf, kBrain}) {
    for (const double value : critical_values(format)) {
      values.push_back(static_cast<float>(value));
    }
  }
  for (const float value : values) {
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(to_float(to_float16(value))));
      ASSERT_TRUE(std::isnan(to_float(to_bfloat16(value))));
      continue;
    }
    ASSERT_EQ(bits_of(to_float16(value)), encode(kHalf, value)) << value << " to float16";
    ASSERT_EQ(bits_of(to_bfloat16(value)), encode(kBrain, value)) << value << " to bfloat16";
  }
}

TEST(NumberFormats, NaNLosesSignAndPayloadWhenMadeCanonical) {
  EXPECT_EQ(bits_of(canonical_nan(float_of_bits(0xffc01234u))), 0x7fc00000u);
  EXPECT_EQ(bits_of(canonical_nan(double_of_bits(0xfff8000000000001u))), 0x7ff8000000000000u);
  EXPECT_EQ(bits_of(canonical_nan(-0.0f)), 0x80000000u);
  EXPECT_EQ(bits_of(narrow<Float16>(canonical_nan(float_of_bits(0xffc01234u)))), 0x7e00);
  EXPECT_EQ(bits_of(narrow<BFloat16>(canonical_nan(float_of_bits(0xffc01234u)))), 0x7fc0);
}

TEST(NumberFormats, MultiplyAddRoundsOnce) {
  const float a = 1.0f + 0x1p-12f;
  EXPECT_EQ(fused_multiply_add(a, a, -1.0f), 0x1p-11f + 0x1p-24f);
  const double b = 1.0 + 0x1p-27;
  EXPECT_EQ(fused_multiply_add(b, b, -1.0), 0x1p-26 + 0x1p-54);
}

TEST(Mix, IsTheFinaliserOfSplitMix64) {
  // The first three outputs of SplitMix64 seeded with 0, as published with the generator.
  EXPECT_EQ(mix(kGoldenGamma), 0xe220a8397b1dcdafu);
  EXPECT_EQ(mix(2 * kGoldenGamma), 0x6e789e6aa1b965f4u);
  EXPECT_EQ(mix(3 * kGoldenGamma), 0x06c45d188009454fu);
}

}  // namespace
}  // namespace leapverify::kernels

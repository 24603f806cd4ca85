#include <leapverify/kernels/error.h>
#include <leapverify/runtime/policy/betting.h>

#include <algorithm>
#include <cmath>

namespace leapverify::policy {
namespace {

// Share of the largest bet at which no single gain can ruin: below 1, so that capital stays above 0.
constexpr double kBoldness = 0.75;

}  // namespace

BettingTest::BettingTest(double margin, double clip)
    : margin_(margin), clip_(clip), squares_(clip * clip / 4) {
  LV_CHECK(margin >= 0 && margin < clip,
           "margin " << margin << " and clip " << clip << ", expected 0 ≤ margin < clip");
}

void BettingTest::add(double gain) {
  LV_CHECK(!std::isnan(gain), "a gain is NaN");
  const double excess = std::clamp(gain, -clip_, clip_) - margin_;
  // Near the bet of the fastest growing capital when gains go on as they did (Kelly).
  const double variance = squares_ / static_cast<double>(count_ + 1);
  const double kelly = mean_ / (variance + mean_ * mean_);
  const double bet_for = std::clamp(kelly, 0.0, kBoldness / (clip_ + margin_));
  const double bet_against = std::clamp(-kelly, 0.0, kBoldness / (clip_ - margin_));
  capital_for_ *= 1 + bet_for * excess;
  capital_against_ *= 1 - bet_against * excess;

  ++count_;
  const double delta = excess - mean_;
  mean_ += delta / static_cast<double>(count_ + 1);
  squares_ += delta * (excess - mean_);
}

}  // namespace leapverify::policy

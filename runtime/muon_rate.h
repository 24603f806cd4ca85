// How Muon's step follows from the learning rate. Apart from muon.h, so that configs can be read
// without torch.
#pragma once

#include <leapverify/regimes/field.h>

namespace leapverify {

/// What a matrix [r × c] is stepped by, as a factor on the learning rate: kOriginal: √max(1, r/c);
/// kMatchAdamW: 0.2 √max(r, c), by which an update is as large as AdamW's, so that its learning rate
/// and weight decay fit.
enum class MuonRate { kOriginal, kMatchAdamW };

template <>
struct EnumNames<MuonRate> {
  static constexpr Named<MuonRate> names[] = {{MuonRate::kOriginal, "original"},
                                              {MuonRate::kMatchAdamW, "match_rms_adamw"}};
};

}  // namespace leapverify

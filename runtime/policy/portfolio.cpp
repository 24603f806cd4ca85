#include <leapverify/runtime/policy/portfolio.h>

#include <algorithm>
#include <utility>

namespace leapverify::policy {
namespace {

PredictorKind kind_named(const std::string& name) {
  std::string legal;
  for (const Named<PredictorKind>& entry : EnumNames<PredictorKind>::names) {
    if (entry.value == PredictorKind::kPortfolio) continue;
    if (name == entry.name) return entry.value;
    legal += (legal.empty() ? "" : ", ") + std::string(entry.name);
  }
  throw InvalidOption("portfolio", name, legal);
}

double success(const Portfolio::Member& member) {
  return static_cast<double>(member.wins + 1) / static_cast<double>(member.tries + 2);
}

}  // namespace

Portfolio::Portfolio(const PredictorOptions& options) {
  if (options.kind != PredictorKind::kPortfolio) {
    members_.emplace_back(options);
  } else {
    if (options.portfolio.empty()) throw InvalidOption("portfolio", "[]", "at least one predictor");
    for (const std::string& name : options.portfolio) {
      PredictorOptions member = options;
      member.kind = kind_named(name);
      if (has(member.kind)) {
        throw InvalidOption("portfolio", name + " given twice", "distinct predictors");
      }
      members_.emplace_back(member);
    }
  }
  state_.resize(members_.size());
}

std::int64_t Portfolio::snapshots_needed() const {
  std::int64_t needed = 0;
  for (const Predictor& member : members_) needed = std::max(needed, member.snapshots_needed());
  return needed;
}

bool Portfolio::needs_gram() const {
  return std::any_of(members_.begin(), members_.end(),
                     [](const Predictor& member) { return member.needs_gram(); });
}

bool Portfolio::has(PredictorKind kind) const {
  return std::any_of(members_.begin(), members_.end(),
                     [kind](const Predictor& member) { return member.kind() == kind; });
}

bool Portfolio::has_row_per_tensor() const {
  return std::any_of(members_.begin(), members_.end(),
                     [](const Predictor& member) { return member.has_row_per_tensor(); });
}

std::vector<std::size_t> Portfolio::due() const {
  const auto shortest = std::min_element(
      state_.begin(), state_.end(),
      [](const Member& a, const Member& b) { return a.tries_to_wait < b.tries_to_wait; });
  std::vector<std::size_t> asked;
  for (std::size_t i = 0; i < state_.size(); ++i) {
    if (state_[i].tries_to_wait == 0) asked.push_back(i);
  }
  if (asked.empty()) asked.push_back(static_cast<std::size_t>(shortest - state_.begin()));
  std::stable_sort(asked.begin(), asked.end(), [this](std::size_t a, std::size_t b) {
    return success(state_[a]) > success(state_[b]);
  });
  return asked;
}

void Portfolio::record(const std::vector<std::size_t>& asked, std::optional<std::size_t> winner) {
  for (Member& member : state_) {
    if (member.tries_to_wait > 0) --member.tries_to_wait;
  }
  for (const std::size_t index : asked) {
    Member& member = state_[index];
    ++member.tries;
    if (winner == index) {
      ++member.wins;
      member.losses_in_row = 0;
      member.tries_to_wait = 0;
      continue;
    }
    // 2^4 − 1 is the longest wait; the bound keeps the shift defined.
    member.losses_in_row = std::min<std::int64_t>(member.losses_in_row + 1, 4);
    member.tries_to_wait = std::min(kMaxWait, (std::int64_t{1} << member.losses_in_row) - 1);
  }
}

void Portfolio::restore(State state) {
  LV_CHECK(state.size() == members_.size(),
           "records of " << state.size() << " predictors for " << members_.size());
  state_ = std::move(state);
}

}  // namespace leapverify::policy

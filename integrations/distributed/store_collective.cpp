#include <leapverify/integrations/distributed/store_collective.h>
#include <leapverify/runtime/error_text.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace leapverify::distributed {

void StoreCollective::sum(std::vector<double>& values) {
  const std::string prefix = "leapverify/" + std::to_string(sums_++) + "/";
  std::vector<double> total(values.size());
  try {
    std::vector<std::uint8_t> bytes(values.size() * sizeof(double));
    if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    store_->set(prefix + std::to_string(rank_), bytes);
    for (int rank = 0; rank < size_; ++rank) {
      const std::string key = prefix + std::to_string(rank);
      store_->wait({key}, timeout_);
      const std::vector<std::uint8_t> given = store_->get(key);
      if (given.size() != bytes.size()) throw CollectiveError("the ranks are out of step");
      for (std::size_t i = 0; i < total.size(); ++i) {
        double value = 0;
        std::memcpy(&value, given.data() + i * sizeof(double), sizeof(double));
        total[i] += value;
      }
    }
  } catch (const CollectiveError&) {
    throw;
  } catch (const std::exception& error) {
    throw CollectiveError("the other ranks do not answer: " + error_text(error));
  }
  values = total;
}

void StoreCollective::leave() noexcept {
  try {
    store_->set("leapverify/left/" + std::to_string(rank_), std::vector<std::uint8_t>{1});
    if (rank_ > 0) return;
    std::vector<std::string> keys;
    for (int rank = 1; rank < size_; ++rank)
      keys.push_back("leapverify/left/" + std::to_string(rank));
    store_->wait(keys, std::chrono::seconds(5));
  } catch (const std::exception&) {
    // Whoever is gone has nothing to read.
  }
}

}  // namespace leapverify::distributed

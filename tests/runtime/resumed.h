// A run that is stopped and resumed against the one that was not.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {

/// `whole` has trained `steps` with the options: so must a run that was stopped on the way, with the same
/// trace. `train` takes a run so many steps further.
inline void expect_resumed_is(
    ToyRun& whole, const Options& options, int stop, int steps,
    const std::function<void(ToyRun&, int)>& train = [](ToyRun& run, int count) {
      run.train(count);
    }) {
  ToyRun first;
  first.scheduled = whole.scheduled;
  first.wrap(options);
  train(first, stop);
  const RandomState random = capture_random_state(toy_device());
  ToyRun second;
  second.scheduled = whole.scheduled;
  second.wrap(options);
  second.go_on_from(first, random);
  train(second, steps - stop);
  EXPECT_TRUE(bitwise_equal(whole.everything(), second.everything())) << "stopped at " << stop;
  std::vector<std::string> stitched = first.trace;
  stitched.insert(stitched.end(), second.trace.begin(), second.trace.end());
  EXPECT_EQ(whole.trace, stitched) << "stopped at " << stop;
  const policy::Ledger& expected = whole.leaps->status().ledger;
  const policy::Ledger& ledger = second.leaps->status().ledger;
  EXPECT_EQ(std::make_tuple(expected.forwards(), expected.tries, expected.accepted, expected.looks,
                            expected.went_back),
            std::make_tuple(ledger.forwards(), ledger.tries, ledger.accepted, ledger.looks,
                            ledger.went_back))
      << "stopped at " << stop;
}

}  // namespace leapverify

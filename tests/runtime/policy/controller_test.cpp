// When to try: regime, back-off and the hard cap.
#include <gmock/gmock.h>
#include <leapverify/runtime/policy/controller.h>

#include <limits>

namespace leapverify::policy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// A situation in which every condition but the tested one is met.
Situation ready() {
  Situation now;
  now.step = 500;
  now.planned_steps = 1000;
  now.step_cost = 100;
  now.regime = Regime::kStable;
  now.snapshots = 2;
  now.snapshots_needed = 2;
  now.try_forwards = 10;
  return now;
}

ControllerOptions demanding() {
  ControllerOptions options;
  options.least_regime = Regime::kStable;
  options.first_leap = 100;
  options.max_overhead = 0.01;
  options.horizons = {5, 10, 25};
  return options;
}

std::string reason_for(const Situation& situation) {
  Controller controller(demanding());
  const Action action = controller.next(situation);
  EXPECT_THAT(action.horizons, IsEmpty());
  return action.reason;
}

TEST(Controller, TriesAllHorizonsAscending) {
  ControllerOptions options = demanding();
  options.horizons = {25, 5, 10};
  Controller controller(options);
  EXPECT_THAT(controller.next(ready()).horizons, ElementsAre(5, 10, 25));
}

TEST(Controller, WaitsAndSaysWhy) {
  Situation now = ready();
  now.snapshots = 1;
  EXPECT_EQ(reason_for(now), "too few snapshots");
  now = ready();
  now.step = 99;
  EXPECT_EQ(reason_for(now), "before the first leap");
  now.step = 100;
  EXPECT_FALSE(Controller(demanding()).next(now).horizons.empty());
  now = ready();
  now.regime = Regime::kTransition;
  EXPECT_EQ(reason_for(now), "regime");
  now = ready();
  now.step = 1000;
  EXPECT_EQ(reason_for(now), "the run ends here");
}

TEST(Controller, LeavesOutHorizonsThatSayNothing) {
  Situation now = ready();
  now.least_horizon = 10;
  EXPECT_THAT(Controller(demanding()).next(now).horizons, ElementsAre(10, 25));
  now.least_horizon = 26;
  EXPECT_EQ(reason_for(now), "the schedule climbs");
}

TEST(Controller, NoTryIsMadeOnceTheGateSetIsUsedUp) {
  ASSERT_FALSE(Controller(demanding()).next(ready()).horizons.empty());
  Situation now = ready();
  now.gate_used_up = true;
  EXPECT_EQ(reason_for(now), "the gate set is used up");
}

TEST(Controller, LeastRegimeOpensCalmerOnesToo) {
  ControllerOptions options = demanding();
  options.least_regime = Regime::kTransition;
  Controller controller(options);
  Situation now = ready();
  EXPECT_FALSE(controller.next(now).horizons.empty());
  now.regime = Regime::kTransition;
  EXPECT_FALSE(controller.next(now).horizons.empty());
  now.regime = Regime::kChaotic;
  EXPECT_TRUE(controller.next(now).horizons.empty());
}

TEST(Controller, BudgetIsAShareOfThePlannedRun) {
  Controller controller(demanding());
  // 1 % of 1000 steps at 100 units.
  controller.state().ledger.verification_forwards = 990;
  EXPECT_TRUE(controller.affords(ready(), 10));
  EXPECT_FALSE(controller.affords(ready(), 11));
  controller.state().ledger.probe_forwards = 1;
  EXPECT_FALSE(controller.affords(ready(), 10)) << "probes count as well";
  EXPECT_EQ(controller.next(ready()).reason, "overhead cap reached");
}

TEST(Controller, ConfirmedSavingsWidenTheBudget) {
  Controller controller(demanding());
  controller.state().ledger.steps_saved = 20;
  // A quarter of 20 steps at 100 units on top of 1000.
  EXPECT_TRUE(controller.affords(ready(), 1500));
  EXPECT_FALSE(controller.affords(ready(), 1501));
}

TEST(Controller, TriesThatRaisedTheRateAreNotCounted) {
  Controller controller(demanding());
  Situation now = ready();
  now.try_forwards = 1000;
  EXPECT_TRUE(controller.affords(now, 1000));
  controller.state().ledger.verification_forwards = 700;
  EXPECT_FALSE(controller.affords(now, 1000));
  controller.state().ledger.raising_forwards = 700;
  EXPECT_TRUE(controller.affords(now, 1000));
  EXPECT_FALSE(controller.affords(now, 1001));
}

TEST(Controller, WithoutAPlanTheStepsDoneAreTheBasis) {
  Controller controller(demanding());
  Situation now = ready();
  now.planned_steps = 0;
  EXPECT_TRUE(controller.affords(now, 500));
  EXPECT_FALSE(controller.affords(now, 501));
}

TEST(Controller, InfiniteOverheadIsNoCap) {
  ControllerOptions options = demanding();
  options.max_overhead = std::numeric_limits<double>::infinity();
  Controller controller(options);
  EXPECT_TRUE(controller.affords(ready(), std::int64_t{1} << 60));
}

/// Observations without a try until the next one.
int waits(Controller& controller) {
  int count = 0;
  while (controller.next(ready()).horizons.empty()) ++count;
  return count;
}

TEST(Controller, RejectionsBackOffByDoublingUpToTheCap) {
  Controller controller(demanding());
  for (const int expected : {1, 3, 7, 8, 8}) {
    controller.record(false);
    EXPECT_EQ(waits(controller), expected);
  }
}

TEST(Controller, AcceptanceEndsTheBackOff) {
  Controller controller(demanding());
  controller.record(false);
  controller.record(false);
  controller.record(true);
  EXPECT_EQ(waits(controller), 0);
  controller.record(false);
  EXPECT_EQ(waits(controller), 1);
  EXPECT_EQ(controller.state().ledger.tries, 4);
  EXPECT_EQ(controller.state().ledger.accepted, 1);
}

TEST(Controller, ALookBackThatVerifiedEndsTheBackOffAndIsNoAcceptance) {
  Controller controller(demanding());
  controller.record(false);
  controller.record(false);
  controller.record_look_back();
  EXPECT_EQ(waits(controller), 0);
  EXPECT_EQ(controller.state().ledger.tries, 3);
  EXPECT_EQ(controller.state().ledger.accepted, 0);
  controller.record(false);
  EXPECT_EQ(waits(controller), 1);
}

TEST(Controller, RefusesEmptyAndDoubleHorizons) {
  ControllerOptions options;
  options.horizons = {};
  EXPECT_THROW(Controller controller(options), InvalidOption);
  options.horizons = {5, 10, 5};
  EXPECT_THROW(Controller controller(options), InvalidOption);
  options.horizons = {-5};
  EXPECT_THROW(Controller controller(options), InvalidOption);
}

ControllerOptions cascading() {
  ControllerOptions options = demanding();
  options.horizons = {25};
  options.cascade = 3;
  return options;
}

TEST(Cascade, NextLinkComesAsManyStepsLaterAsWereLeapt) {
  Controller controller(cascading());
  EXPECT_TRUE(controller.observes(500, 50));
  ASSERT_THAT(controller.next(ready()).horizons, ElementsAre(25));
  controller.record(true);
  EXPECT_EQ(controller.record_link(500, 25), 1);
  EXPECT_FALSE(controller.observes(510, 10)) << "only links are observed meanwhile";
  EXPECT_TRUE(controller.observes(525, 50));
  Situation now = ready();
  now.step = 525;
  now.regime = Regime::kChaotic;
  EXPECT_THAT(controller.next(now).horizons, ElementsAre(25)) << "whatever the regime";
  controller.record(true);
  EXPECT_EQ(controller.record_link(525, 25), 2);
  EXPECT_TRUE(controller.observes(550, 100));
  controller.record(true);
  EXPECT_EQ(controller.record_link(550, 25), 3);
  EXPECT_FALSE(controller.observes(575, 50)) << "three links were all";
  EXPECT_TRUE(controller.observes(600, 50));
}

TEST(Cascade, EndsAtTheFirstLinkThatFails) {
  Controller controller(cascading());
  controller.record(true);
  controller.record_link(500, 25);
  controller.record(false);
  EXPECT_EQ(controller.record_link(525, 0), 2);
  EXPECT_FALSE(controller.observes(525, 50));
  EXPECT_TRUE(controller.observes(550, 50));
}

TEST(Cascade, EndsWhereItCannotBePaidForOrTheRunIsOver) {
  for (const bool poor : {true, false}) {
    Controller controller(cascading());
    controller.record(true);
    controller.record_link(500, 25);
    Situation now = ready();
    now.step = 525;
    if (poor) now.try_forwards = 1 << 20;
    if (!poor) now.planned_steps = 525;
    const Action action = controller.next(now);
    EXPECT_THAT(action.horizons, IsEmpty());
    EXPECT_EQ(action.reason, poor ? "overhead cap reached" : "the run ends here");
    EXPECT_TRUE(controller.observes(550, 50));
  }
}

TEST(Cascade, OfOneLinkIsNone) {
  Controller controller(demanding());
  controller.record(true);
  EXPECT_EQ(controller.record_link(500, 25), 0);
  EXPECT_TRUE(controller.observes(510, 10));
}

}  // namespace
}  // namespace leapverify::policy

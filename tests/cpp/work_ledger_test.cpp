#include "cpp_chunk/work_ledger.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace cpp_chunk {
namespace {

UncutWork tokens(std::int64_t num_tokens) { return UncutWork::of(num_tokens, 0); }

// A target that was set for a prompt of 1000 tokens, of which a step of 100 is inside.
WorkLedger busy_ledger() {
  WorkLedger ledger;
  ledger.take_backlog(tokens(1000), 0);
  ledger.consider();
  ledger.commit();
  ledger.step_scheduled(1, tokens(100));
  return ledger;
}

TEST(WorkLedger, AnIdlePipelineFindsAllThatWaitsNew) {
  WorkLedger ledger;
  const BacklogChange change = ledger.take_backlog(tokens(1000), 0);
  EXPECT_TRUE(change.is_idle);
  EXPECT_EQ(change.joined.num_tokens, 1000);
  EXPECT_EQ(change.present.num_tokens, 0);
  EXPECT_EQ(change.gone.num_tokens, 0);
  EXPECT_TRUE(ledger.may_fall());
}

TEST(WorkLedger, AnIdlePipelineRemembersNothingOfWhatWaitedBefore) {
  WorkLedger ledger;
  ledger.take_backlog(tokens(1000), 0);
  EXPECT_EQ(ledger.take_backlog(tokens(60), 0).joined.num_tokens, 60);
}

TEST(WorkLedger, IsIdleOnlyWithoutPromptsUnderWayAndStepsInside) {
  WorkLedger ledger;
  EXPECT_FALSE(ledger.take_backlog(tokens(10), 1).is_idle);
  EXPECT_TRUE(ledger.take_backlog(tokens(10), 0).is_idle);
  ledger.step_scheduled(1, tokens(10));
  EXPECT_FALSE(ledger.take_backlog(tokens(0), 0).is_idle);
  ledger.step_left(1);
  EXPECT_TRUE(ledger.take_backlog(tokens(0), 0).is_idle);
}

TEST(WorkLedger, WhatWasScheduledHasNeitherJoinedNorGone) {
  WorkLedger ledger = busy_ledger();
  const BacklogChange change = ledger.take_backlog(tokens(900), 1);
  EXPECT_FALSE(change.is_idle);
  EXPECT_EQ(change.joined.num_tokens, 0);
  EXPECT_EQ(change.present.num_tokens, 0);
  EXPECT_EQ(change.gone.num_tokens, 0);
  EXPECT_EQ(change.gone.attended_tokens, 0.0);
}

TEST(WorkLedger, WhatJoinedFindsWhatWaitsAndWhatIsInFlight) {
  WorkLedger ledger = busy_ledger();
  const UncutWork joined = UncutWork::of(50, 7);
  const BacklogChange change = ledger.take_backlog(UncutWork::of(900, 100) + joined, 1);
  EXPECT_EQ(change.joined.num_tokens, 50);
  EXPECT_DOUBLE_EQ(change.joined.attended_tokens, joined.attended_tokens);
  EXPECT_EQ(change.present.num_tokens, 1000);
  EXPECT_DOUBLE_EQ(change.present.attended_tokens, tokens(1000).attended_tokens);
  EXPECT_EQ(change.gone.num_tokens, 0);
}

TEST(WorkLedger, WhatIsMissingWentAway) {
  WorkLedger ledger = busy_ledger();
  const BacklogChange change = ledger.take_backlog(UncutWork::of(860, 100), 1);
  EXPECT_EQ(change.gone.num_tokens, 40);
  EXPECT_DOUBLE_EQ(change.gone.attended_tokens, UncutWork::of(40, 960).attended_tokens);
  EXPECT_EQ(change.joined.num_tokens, 0);
}

TEST(WorkLedger, AStepThatLeavesTakesThoseBeforeItAlong) {
  WorkLedger ledger = busy_ledger();
  ledger.step_scheduled(2, tokens(20));
  ledger.step_scheduled(3, tokens(3));
  EXPECT_EQ(ledger.in_flight().num_tokens, 123);
  ledger.step_left(2);
  EXPECT_EQ(ledger.in_flight().num_tokens, 3);
  ledger.step_left(3);
  EXPECT_EQ(ledger.in_flight().num_tokens, 0);
}

TEST(WorkLedger, TheTargetMayFallOnceItsWorkIsScheduled) {
  WorkLedger ledger = busy_ledger();
  ledger.take_backlog(tokens(900), 1);
  EXPECT_FALSE(ledger.may_fall());
  ledger.step_scheduled(2, tokens(899));
  EXPECT_FALSE(ledger.may_fall());
  ledger.step_scheduled(3, tokens(1));
  EXPECT_TRUE(ledger.may_fall());
}

TEST(WorkLedger, TheTargetMayFallOnceAMaterialPartWentAway) {
  WorkLedger ledger = busy_ledger();
  ledger.take_backlog(tokens(850), 1);
  EXPECT_FALSE(ledger.may_fall());
  ledger.take_backlog(tokens(849), 1);
  EXPECT_TRUE(ledger.may_fall());
  // A target that is set for what is left begins anew.
  ledger.commit();
  EXPECT_FALSE(ledger.may_fall());
}

TEST(WorkLedger, WhatWentAwayIsHeldAgainstTheBacklogLastWeighed) {
  WorkLedger ledger = busy_ledger();
  ledger.take_backlog(tokens(2000), 1);
  ledger.consider();
  EXPECT_EQ(ledger.considered().num_tokens, 2000);
  ledger.take_backlog(tokens(1900), 1);
  EXPECT_FALSE(ledger.may_fall());
  ledger.take_backlog(tokens(1899), 1);
  EXPECT_TRUE(ledger.may_fall());
}

}  // namespace
}  // namespace cpp_chunk

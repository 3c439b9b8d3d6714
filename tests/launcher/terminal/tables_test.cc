#include "launcher/terminal/tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace rondo::launcher {
namespace {

using std::chrono::seconds;

const Moment kNow{std::chrono::hours(24 * 365)};

control::RunDescription two_ranks() {
  control::RunDescription run;
  run.set_run_id("mine-4711");
  run.set_program("/bin/mine");
  run.set_phase(control::RUN_PHASE_RUNNING);
  run.set_generation(1);
  run.set_hosts(2);
  run.set_started_ms(
      std::chrono::duration_cast<std::chrono::milliseconds>((kNow - seconds(190)).time_since_epoch()).count());
  for (int rank : {0, 1}) {
    control::RankState& state = *run.add_ranks();
    state.set_rank(rank);
    state.set_host(rank == 0 ? "a" : "node-b");
    state.set_pid(100 + rank);
  }
  control::RankState& first = *run.mutable_ranks(0);
  first.mutable_training()->set_epoch(2);
  first.mutable_training()->set_epochs(3);
  first.mutable_training()->set_step(7);
  first.mutable_training()->set_steps(100);
  first.mutable_training()->set_loss(0.25);
  first.mutable_training()->set_samples_per_second(1234);
  first.mutable_usage()->set_cpu_percent(98.6);
  first.mutable_usage()->set_resident_bytes(300U << 20);
  first.mutable_usage()->set_state("R");
  first.set_line_age_ms(2900);
  run.mutable_ranks(1)->mutable_ending()->set_signal(9);
  return run;
}

TEST(Table, ColumnsAreAsWideAsTheirWidestCell) {
  EXPECT_EQ(table_text({{"A", "LONG", "C"}, {"wider", "b", "c"}}), "A      LONG  C\nwider  b     c\n");
  EXPECT_EQ(table_text({}), "");
}

TEST(Table, AgesAndBytesAreShort) {
  EXPECT_EQ(age_text(seconds(0)), "0s");
  EXPECT_EQ(age_text(seconds(59)), "59s");
  EXPECT_EQ(age_text(seconds(60)), "1m00s");
  EXPECT_EQ(age_text(seconds(3599)), "59m59s");
  EXPECT_EQ(age_text(seconds(3600)), "1h00m");
  EXPECT_EQ(age_text(seconds(86400 * 3 + 3600 * 4)), "3d04h");
  EXPECT_EQ(bytes_text(0), "0 KiB");
  EXPECT_EQ(bytes_text((1U << 20) - 1), "1024 KiB");
  EXPECT_EQ(bytes_text(1U << 20), "1 MiB");
  EXPECT_EQ(bytes_text(uint64_t{3} << 29), "1.5 GiB");
}

TEST(PsTable, HasALineForEachRun) {
  EXPECT_EQ(ps_table({}, kNow), "no run goes on here\n");
  const std::vector<SeenRun> runs{{.door = {0, 1, "mine-4711"}, .state = SeenRun::State::kAnswers, .said = two_ranks()},
                                  {.door = {0, 2, "other"}, .state = SeenRun::State::kSuspended, .said = {}}};
  EXPECT_EQ(ps_table(runs, kNow),
            "RUN        PROGRAM  RANKS  HOSTS  GENERATION  SINCE  STATE      STEP\n"
            "mine-4711  mine     2      2      1           3m10s  running    epoch 2/3 step 7/100\n"
            "other      -        -      -      -           -      suspended  -\n");
}

TEST(PsTable, AsJsonSaysTheSame) {
  const std::vector<SeenRun> runs{{.door = {0, 1, "mine-4711"}, .state = SeenRun::State::kAnswers, .said = two_ranks()},
                                  {.door = {0, 2, "other"}, .state = SeenRun::State::kSilent, .said = {}}};
  const auto json = nlohmann::json::parse(ps_json(runs));
  EXPECT_EQ(json["runs"][0]["ranks"], 2);
  EXPECT_EQ(json["runs"][0]["training"]["step"], 7);
  EXPECT_EQ(json["runs"][1]["state"], "silent");
  EXPECT_EQ(nlohmann::json::parse(ps_json({}))["runs"].size(), 0u);
}

TEST(TopTable, ShowsWhatIsKnownOfEachRank) {
  EXPECT_EQ(top_table(two_ranks(), kNow),
            "mine-4711: running for 3m10s, 2 ranks on 2 hosts, generation 1\n"
            "RANK  HOST    PID  STATE               CPU   MEMORY   SAID    LOSS    SAMPLES/S  STEP\n"
            "0     a       100  running             99 %  300 MiB  2s ago  0.2500  1234       epoch 2/3 step 7/100\n"
            "1     node-b  101  signal 9 (SIGKILL)  -     -        -       -       -          -\n");
}

TEST(TopTable, AsJsonHasNullsForWhatIsNotKnown) {
  const std::string text = top_json(two_ranks());
  EXPECT_EQ(text.find('\n'), text.size() - 1) << "one line";
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["ranks"][0]["resident_bytes"], 300U << 20);
  EXPECT_EQ(json["ranks"][0]["line_age_ms"], 2900);
  EXPECT_TRUE(json["ranks"][1]["cpu_percent"].is_null());
  EXPECT_TRUE(json["ranks"][1]["training"].is_null());
  EXPECT_EQ(json["ranks"][1]["state"], "signal 9 (SIGKILL)");
}

TEST(Tables, DoNotSteerTheTerminal) {
  control::RunDescription run = two_ranks();
  run.set_run_id("\x1b[2Jx");
  run.mutable_ranks(0)->set_host("\x1b[2Jx");
  EXPECT_EQ(top_table(run, kNow).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace rondo::launcher

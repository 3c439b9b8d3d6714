#include "launcher/explain/findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "launcher/explain/words.h"

namespace rondo::launcher {
namespace {

using comm::Code;
using comm::FlightRecord;
using comm::FlightState;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kNow = 1000 * kSecond;
constexpr uint64_t kWorld = 77;

/// The flight record of a rank of four whose group "world" has finished `finished` collectives.
RankRecord rank(int number, uint64_t finished, uint64_t last_ended_ns = kNow - 42 * kSecond) {
  comm::Flight flight{.at = {.rank = number, .world_size = 4}, .pid = 4000 + number};
  flight.beat_ns = kNow - 1'000'000;
  flight.taken_ns = kNow;
  flight.groups.push_back({.id = kWorld,
                           .name = "world",
                           .at = {.rank = number, .world_size = 4},
                           .called = finished,
                           .finished = finished});
  if (finished > 0) {
    flight.records.push_back({.group = kWorld,
                              .sequence = finished - 1,
                              .element_count = 10,
                              .tag = "bucket " + std::to_string(finished - 1),
                              .state = FlightState::kFinished,
                              .called_ns = last_ended_ns - 1000,
                              .ended_ns = last_ended_ns});
  }
  return {.rank = number, .pid = 4000 + number, .flight = std::move(flight)};
}

/// The same, in its next collective for `seconds`.
RankRecord in_call(int number, uint64_t sequence, double seconds, int peer = -1) {
  RankRecord record = rank(number, sequence);
  record.flight->groups[0].called = sequence + 1;
  FlightRecord call{.group = kWorld,
                    .sequence = sequence,
                    .element_count = 20,
                    .tag = "bucket " + std::to_string(sequence),
                    .state = FlightState::kStarted,
                    .called_ns = kNow - static_cast<uint64_t>(seconds * kSecond)};
  if (peer >= 0) {
    call.hop = 2;
    call.hop_count = 6;
    call.peer = peer;
  }
  record.flight->records.push_back(call);
  return record;
}

RankRecord failed(RankRecord record, Code code, const std::string& text, int culprit, uint64_t at = kNow) {
  FlightRecord& call = record.flight->records.back();
  call.state = FlightState::kFailed;
  call.code = code;
  call.ended_ns = at;
  record.flight->groups[0].open = false;
  record.flight->groups[0].code = code;
  record.flight->ending = comm::Flight::Ending{.code = code, .culprit = culprit, .at_ns = at, .text = text};
  record.flight->alarmed_ns = at;
  return record;
}

RunRecord run(std::vector<RankRecord> ranks, RunState state = RunState::kRunning) {
  return {.folder = "runs/x", .state = state, .ranks = std::move(ranks), .now_ns = kNow};
}

std::vector<std::string> texts(const RunRecord& of) {
  std::vector<std::string> all;
  for (const Finding& finding : explain(of).findings) all.push_back(finding.text);
  return all;
}

TEST(Findings, NameTheRankThatIsInAnEarlierCollective) {
  const auto found =
      explain(run({in_call(0, 812, 40), in_call(1, 812, 40), in_call(2, 812, 40), in_call(3, 811, 41.2, 0)})).findings;
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].kind, FindingKind::kBehind);
  EXPECT_THAT(found[0].ranks, ElementsAre(3));
  EXPECT_THAT(found[0].waiting, ElementsAre(0, 1, 2));
  EXPECT_EQ(found[0].sequence, 811u);
  EXPECT_EQ(found[0].text,
            "rank 3 is in sequence 811 of group \"world\" (all_reduce of 20 float32, sum, tag \"bucket 811\"), 41.2 s, "
            "hop 2 of 6, waits for rank 0; ranks 0, 1 and 2 wait for it in sequence 812");
}

TEST(Findings, NameTheRankThatHasNotMadeTheCall) {
  EXPECT_THAT(texts(run({in_call(0, 812, 40.5), in_call(1, 812, 41), rank(2, 812), in_call(3, 812, 40)})),
              ElementsAre("rank 2 has not called sequence 812 of group \"world\" (all_reduce of 20 float32, sum, tag "
                          "\"bucket 812\"): it finished sequence 811 42.0 s ago and is outside of the group since "
                          "(computing, loading data, in another group, or stuck); ranks 0, 1 and 3 wait for it there, "
                          "40.5 s"));
  EXPECT_THAT(texts(run({in_call(0, 0, 3), rank(1, 0)})),
              ElementsAre(HasSubstr("it has finished no call of this group; rank 0 waits for it there, 3.0 s")));
}

TEST(Findings, SpeakOfSeveralRanksAndPlaces) {
  EXPECT_THAT(
      texts(run({in_call(0, 5, 1), rank(1, 3), rank(2, 3), in_call(3, 4, 2)})),
      ElementsAre(testing::AllOf(HasSubstr("ranks 1 and 2 have not called sequence"), HasSubstr("they finished"),
                                 HasSubstr("ranks 0 and 3 wait for them further on"))));
}

TEST(Findings, ShowBothSidesOfAMismatch) {
  RankRecord other = in_call(2, 9, 1);
  other.flight->records.back().kind = comm::CollectiveKind::kBroadcast;
  other.flight->records.back().root = 1;
  const auto found = explain(run({in_call(0, 9, 1), in_call(1, 9, 1), other})).findings;
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].kind, FindingKind::kMismatch);
  EXPECT_EQ(found[0].text,
            "ranks disagree in sequence 9 of group \"world\": ranks 0 and 1 call all_reduce of 20 float32, sum, tag "
            "\"bucket 9\"; rank 2 calls broadcast of 20 float32, root 1, tag \"bucket 9\"");
}

TEST(Findings, TellWhoWaitsForWhomWhenAllAreInOneCall) {
  EXPECT_THAT(texts(run({in_call(0, 4, 7, 3), in_call(1, 4, 6, 0), in_call(2, 4, 8, 1), in_call(3, 4, 9)})),
              ElementsAre("all 4 ranks are in sequence 4 of group \"world\" (all_reduce of 20 float32, sum, tag "
                          "\"bucket 4\"), 6.0 s: rank 0 waits for rank 3 (hop 2 of 6), rank 1 waits for rank 0 (hop 2 "
                          "of 6), rank 2 waits for rank 1 (hop 2 of 6)"));
}

TEST(Findings, NameTheDeadWithItsSignalAndItsLastCall) {
  RankRecord dead = in_call(2, 811, 0.5, 1);
  dead.exit = RankExit{.signal = 9};
  const std::string said = "rank 2 (pid 4002) died: the kernel released its robust mutex";
  RunRecord record = run({failed(in_call(0, 811, 0.4), Code::kPeerLost, said + " (said by rank 1)", 2),
                          failed(in_call(1, 811, 0.4), Code::kPeerLost, said, 2), dead},
                         RunState::kFailed);
  record.culprit = 2;
  record.cause = "killed by signal 9 (SIGKILL)";
  EXPECT_THAT(
      texts(record),
      ElementsAre("rank 2 (pid 4002) died: killed by signal 9 (SIGKILL); it was in sequence 811 of group "
                  "\"world\" (all_reduce of 20 float32, sum, tag \"bucket 811\"), hop 2 of 6, waiting for rank "
                  "1; the last that it finished: sequence 810 of group \"world\" (all_reduce of 10 float32, "
                  "sum, tag \"bucket 810\")",
                  HasSubstr("ranks 0, 1 and 2 were in sequence 811"), "ranks 0 and 1 report kPeerLost: " + said));
  EXPECT_THAT(explanation_lines(record, explain(record)),
              Contains("runs/x: 3 ranks, failed: rank 2 killed by signal 9 (SIGKILL)"));
}

TEST(Findings, NameTheDeadByWhatOthersSayWhenNoLauncherKnows) {
  RankRecord dead = in_call(1, 3, 0.5);
  RankRecord alive = failed(in_call(0, 3, 0.5), Code::kPeerLost, "rank 1 (pid 4001) died", 1);
  alive.process = 'S';
  EXPECT_THAT(texts(run({alive, dead}, RunState::kUnknown)), Contains(HasSubstr("rank 1 (pid 4001) died; it was in")));
  dead.process = 'S';  // it lives: a broken link is no death
  EXPECT_THAT(texts(run({alive, dead}, RunState::kUnknown)), testing::Not(Contains(HasSubstr("died; it was"))));
}

TEST(Findings, NameAStoppedRankByItsSilenceAndItsState) {
  RankRecord silent = in_call(1, 4, 5);
  silent.flight->beat_ns = kNow - 3 * kSecond;
  EXPECT_THAT(
      texts(run({in_call(0, 4, 5, 1), silent})),
      Contains("rank 1 (pid 4001) has not beaten for 3.0 s: stopped (SIGSTOP, a debugger), starved of its cpu"));
  silent.process = 'T';
  EXPECT_THAT(texts(run({in_call(0, 4, 5, 1), silent})),
              Contains("rank 1 (pid 4001) is stopped (process state T: SIGSTOP or a debugger); it has not beaten for "
                       "3.0 s"));
}

TEST(Findings, AccuseNobodyOfSilenceWhenAllAreSilentOrEnded) {
  RankRecord one = rank(0, 4), two = rank(1, 4);
  one.flight->beat_ns = two.flight->beat_ns = kNow - 10 * kSecond;
  for (const Finding& finding : explain(run({one, two})).findings) EXPECT_NE(finding.kind, FindingKind::kStopped);
  RankRecord ended = rank(1, 4);
  ended.flight->beat_ns = kNow - 10 * kSecond;
  ended.exit = RankExit{};
  for (const Finding& finding : explain(run({rank(0, 4), ended})).findings)
    EXPECT_NE(finding.kind, FindingKind::kStopped);
}

TEST(Findings, JudgeSilenceAtTheMomentOfTheAlarm) {
  RankRecord stopped = in_call(1, 4, 6);
  stopped.flight->beat_ns = kNow - 9 * kSecond;
  stopped.exit = RankExit{.signal = 9, .stopped_by_launcher = true};
  RankRecord victim = failed(in_call(0, 4, 6, 1), Code::kTimeout, "timed out", 1, kNow - 5 * kSecond);
  victim.flight->beat_ns = kNow - 4 * kSecond;
  RunRecord record = run({victim, stopped}, RunState::kFailed);
  record.culprit = 0;
  EXPECT_THAT(texts(record), Contains(HasSubstr("rank 1 (pid 4001) had not beaten for 4.0 s")));
}

TEST(Findings, NameARankThatClosedTheGroup) {
  RankRecord left = rank(1, 5);
  left.flight->groups[0].open = false;
  left.flight->groups[0].code = Code::kClosed;
  EXPECT_THAT(texts(run({in_call(0, 5, 2), left})),
              Contains("rank 1 closed group \"world\" after 5 collectives; rank 0 is in sequence 5 of group \"world\" "
                       "(all_reduce of 20 float32, sum, tag \"bucket 5\")"));
}

TEST(Findings, NameWhoIsMissingFromAGroupCreation) {
  RankRecord first = rank(0, 0), second = rank(1, 0), third = rank(2, 0);
  for (RankRecord* record : {&first, &second, &third}) record->flight->groups.clear();
  for (RankRecord* record : {&first, &third}) {
    record->flight->forming = "world";
    record->flight->forming_since_ns = kNow - 4 * kSecond;
  }
  EXPECT_THAT(texts(run({first, second, third, {.rank = 3}})),
              ElementsAre("ranks 0 and 2 create group \"world\", 4.0 s; ranks 1 and 3 do not"));
}

TEST(Findings, SayThatNothingIsUnderWay) {
  EXPECT_THAT(texts(run({rank(0, 7), rank(1, 7)})),
              ElementsAre("nothing is under way in group \"world\": ranks 0 and 1 finished sequence 6, 42.0 s ago"));
  EXPECT_THAT(texts(run({})), IsEmpty());
}

TEST(Findings, ExplainAGroupWhoseRecordsWereReplaced) {
  RankRecord late = rank(1, 3);
  late.flight->records.clear();
  EXPECT_THAT(texts(run({in_call(0, 3, 2), late})), ElementsAre(HasSubstr("rank 1 has not called sequence 3")));
}

TEST(Findings, CountByRecordsWhereAGroupLostItsPlaceInTheTable) {
  RankRecord busy = in_call(0, 5, 2), late = rank(1, 5);
  for (RankRecord* record : {&busy, &late}) record->flight->groups.clear();
  EXPECT_THAT(texts(run({busy, late})),
              ElementsAre(HasSubstr("rank 1 has not called sequence 5 of group \"number 77\"")));
}

TEST(Findings, KeepControlCharactersOfTagsAndNamesOut) {
  RankRecord evil = in_call(0, 1, 2), late = rank(1, 1);
  evil.flight->records.back().tag = "\x1b[2J";
  for (RankRecord* record : {&evil, &late}) record->flight->groups[0].name = "\x1b]0;x";
  for (const std::string& line : explanation_lines(run({evil, late}), explain(run({evil, late}))))
    EXPECT_THAT(line, testing::Not(HasSubstr("\x1b")));
}

TEST(Findings, AreJsonForPrograms) {
  const RunRecord record = run({in_call(0, 812, 40, 3), in_call(3, 811, 41)});
  const auto json = nlohmann::json::parse(explanation_json(record, explain(record)));
  EXPECT_EQ(json["run"], "runs/x");
  EXPECT_EQ(json["state"], "running");
  EXPECT_EQ(json["findings"][0]["kind"], "behind");
  EXPECT_EQ(json["findings"][0]["ranks"], nlohmann::json({3}));
  EXPECT_EQ(json["findings"][0]["waiting"], nlohmann::json({0}));
  EXPECT_EQ(json["ranks"][0]["groups"][0]["current"]["sequence"], 812);
  EXPECT_EQ(json["ranks"][0]["groups"][0]["current"]["waits_for"], 3);
  EXPECT_EQ(json["ranks"][0]["groups"][0]["last_finished"]["sequence"], 811);
  EXPECT_EQ(json["ranks"][1]["groups"][0]["current"]["tag"], "bucket 811");
}

TEST(Words, ListRanksAndDurations) {
  EXPECT_EQ(ranks_text({3}), "rank 3");
  EXPECT_EQ(ranks_text({2, 0}), "ranks 0 and 2");
  EXPECT_EQ(ranks_text({0, 1, 2}), "ranks 0, 1 and 2");
  EXPECT_EQ(ranks_text({0, 1, 2, 3, 7}), "ranks 0-3 and 7");
  EXPECT_EQ(duration_text(250'999), "250 us");
  EXPECT_EQ(duration_text(310'000'000), "310 ms");
  EXPECT_EQ(duration_text(41'290'000'000), "41.2 s");
  EXPECT_EQ(duration_text(723 * kSecond), "12 min 3 s");
}

TEST(Events, TellHowARunEnded) {
  const auto state = [](const std::vector<std::string>& events, Launcher launcher) {
    std::string lines;
    for (const std::string& event : events) lines += event + "\n";
    RunRecord record;
    apply_events(lines, launcher, record);
    return record;
  };
  const std::string start = R"({"kind":"start"})", spawn = R"({"kind":"spawn","rank":1,"pid":12})";
  EXPECT_EQ(state({}, Launcher::kGone).state, RunState::kUnknown);
  EXPECT_EQ(state({start, spawn}, Launcher::kLives).state, RunState::kRunning);
  EXPECT_EQ(state({start, spawn}, Launcher::kGone).state, RunState::kCut);
  EXPECT_EQ(state({start, spawn, R"({"kind":"end","exit_code":0})"}, Launcher::kGone).state, RunState::kEndedWell);
  EXPECT_EQ(
      state({start, R"({"kind":"signal","signal":2})", R"({"kind":"end","exit_code":130})"}, Launcher::kGone).state,
      RunState::kStopped);
  const RunRecord failed =
      state({start, spawn, R"({"kind":"exit","rank":1,"pid":12,"exit_code":null,"signal":9,"stopped":false})",
             R"({"kind":"verdict","rank":1,"cause":"killed by signal 9"})", R"({"kind":"end","exit_code":137})",
             R"({"kind":"cut o)"},
            Launcher::kGone);
  EXPECT_EQ(failed.state, RunState::kFailed);
  EXPECT_EQ(failed.culprit, 1);
  EXPECT_EQ(failed.cause, "killed by signal 9");
  EXPECT_EQ(failed.exit_code, 137);
  ASSERT_EQ(failed.ranks.size(), 1u);
  EXPECT_EQ(failed.ranks[0].pid, 12);
  EXPECT_EQ(failed.ranks[0].exit->signal, 9);
}

}  // namespace
}  // namespace rondo::launcher

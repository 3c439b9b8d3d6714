/// `rondo doctor` as the ranks of a job: on this host, and on two network namespaces as hosts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/launcher/support/launch.h"
#include "tests/support/hosts.h"
#include "tests/support/job_over_hosts.h"

namespace rondo::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using namespace std::chrono_literals;

using Words = std::vector<std::string>;

std::string text_of(const json& lines, const std::string& subject) {
  for (const json& line : lines)
    if (line["subject"] == subject) return line["text"];
  return "nothing about " + subject;
}

/// A rank of a job by hand, on a host of its own.
class DoctorOfTwoHosts : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(Hosts::refusal(), "");
    hosts_.emplace(2);
    door_ = hosts_->ipv4(hosts_->connect({.first = 0, .second = 1}), 0);
    for (const char* file : {"secret", "other"}) ASSERT_EQ(run_rondo({"secret", "new", file}, options()).exit_code, 0);
  }
  Launch::Options options() const { return {.folder = folder_.path()}; }

  struct Ended {
    std::string output;
    int code = -1;
  };
  /// `rank_one` is done by rank 1 before it becomes the doctor.
  std::vector<Ended> by_hand(const std::string& rank_one, const std::string& flags) {
    JobOverHosts job(
        *hosts_,
        {.program = "/bin/sh",
         .arguments = {"-c", "cd \"$1\"; if [ $RANK = 1 ]; then " + rank_one + "; fi; exec \"$0\" doctor " + flags,
                       RONDO_PROGRAM, folder_.path()},
         .ranks_per_host = 1,
         .master = door_,
         .environment = {},
         .special_argument = {}});
    std::vector<Ended> all;
    for (int rank = 0; rank < job.rank_count(); ++rank) {
      Ended ended;
      while (const auto line = job.of(rank).line(60s)) ended.output += *line + "\n";
      ended.code = job.of(rank).end(20s).value_or(-1);
      all.push_back(std::move(ended));
    }
    return all;
  }
  std::unique_ptr<Launch> agent(int host, const Words& flags, const std::string& secret = "secret") const {
    const auto on = hosts_->on(host, {.program = RONDO_PROGRAM,
                                      .arguments = {"doctor", "--nnodes", "2", "--node-rank", std::to_string(host),
                                                    "--rdzv-endpoint", door_ + ":29400", "--secret-file", secret},
                                      .environment = {}});
    Words words = on.arguments;
    words.insert(words.end(), flags.begin(), flags.end());
    return std::make_unique<Launch>(words,
                                    Launch::Options{.environment = {{"RONDO_HOST_ID", "host-" + std::to_string(host)}},
                                                    .program = on.program,
                                                    .folder = folder_.path()});
  }

  const TemporaryFolder folder_;
  std::optional<Hosts> hosts_;
  std::string door_;
};

TEST_F(DoctorOfTwoHosts, HasBothInOneReportWithWhatDiffersAndOneCode) {
  const auto ranks = by_hand("ulimit -n 512", "--json");
  const json report = json::parse(ranks[0].output);
  ASSERT_EQ(report["hosts"].size(), 2u);
  EXPECT_EQ(report["hosts"][0]["name"], "host-0");
  EXPECT_EQ(report["hosts"][1]["name"], "host-1");
  EXPECT_THAT(text_of(report["hosts"][1]["diagnoses"], "open files"), HasSubstr("512"));
  EXPECT_THAT(text_of(report["hosts"][0]["diagnoses"], "open files"), Not(HasSubstr("512")));
  EXPECT_THAT(text_of(report["differences"], "open files"), HasSubstr("; 512 on host-1"));
  EXPECT_EQ(text_of(report["differences"], "clocks"), "within 1 s of each other");
  EXPECT_EQ(text_of(report["differences"], "Rondo"), "nothing about Rondo");
  EXPECT_THAT(text_of(report["all_ranks"], "all-reduce"), HasSubstr("2 ranks sum 4 bytes right over tcp"));
  EXPECT_EQ(report["verdict"], "bad");
  EXPECT_EQ(ranks[0].code, 3);
  EXPECT_EQ(ranks[1].code, 3) << "the host of rank 1 is the bad one, and rank 0's code says so, too";
  EXPECT_THAT(ranks[1].output, IsEmpty()) << "rank 0 alone prints";
}

TEST_F(DoctorOfTwoHosts, NamesARankWithAWrongSecretAndTheOneThatWaitsForIt) {
  const auto ranks = by_hand("export RONDO_SECRET_FILE=other", "--timeout 5");
  EXPECT_EQ(ranks[0].code, 4);
  EXPECT_EQ(ranks[1].code, 4);
  EXPECT_THAT(ranks[0].output, AllOf(HasSubstr("[bad    ] job: rank 0 of 2"), HasSubstr("absent")));
  EXPECT_THAT(ranks[1].output, AllOf(HasSubstr("[bad    ] job: rank 1 of 2"), HasSubstr("secret")));
}

TEST_F(DoctorOfTwoHosts, StartsARankOnEachByItself) {
  const auto first = agent(0, {});
  const auto second = agent(1, {});
  const Outcome shown = first->wait(60s), other = second->wait(60s);
  EXPECT_EQ(shown.exit_code, 0) << shown.output << shown.errors;
  EXPECT_EQ(other.exit_code, 0) << other.output << other.errors;
  EXPECT_THAT(shown.output,
              AllOf(HasSubstr("2 hosts, 2 ranks, started by rondo run\n"), HasSubstr("all 2 hosts, the same"),
                    HasSubstr("\nhost host-0 (rank 0)\n"), HasSubstr("\nhost host-1 (rank 1)\n"),
                    HasSubstr("2 ranks sum 4 bytes right over tcp")));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "runs")) << "it changes nothing";
}

TEST_F(DoctorOfTwoHosts, SaysWhoIsAbsentOrHasAnotherSecretAsARunDoes) {
  const auto first = agent(0, {"--rdzv-conf", "join_timeout=5"});
  ASSERT_TRUE(first->wait_for("waiting for hosts"));
  const Outcome stranger = agent(1, {"--rdzv-conf", "join_timeout=5"}, "other")->wait(60s);
  EXPECT_NE(stranger.exit_code, 0);
  EXPECT_THAT(stranger.errors, HasSubstr("secret"));
  const Outcome waited = first->wait(60s);
  EXPECT_EQ(waited.exit_code, 4);
  EXPECT_THAT(waited.errors, HasSubstr("absent: node rank 1"));
}

}  // namespace
}  // namespace rondo::test

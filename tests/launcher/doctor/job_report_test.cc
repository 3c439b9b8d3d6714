#include "launcher/doctor/job_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace rondo::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

HostReport host(const std::string& name, int first_rank, const HostFacts& facts = {}) {
  return {.name = name,
          .first_rank = first_rank,
          .rank_count = 2,
          .clock_milliseconds = 1'700'000'000'000,
          .traits = traits_of(facts),
          .diagnoses = {{.subject = "memory", .text = "16.0 GiB"}, {.subject = "host name", .text = name}}};
}

const Diagnosis* find(const std::vector<Diagnosis>& list, const std::string& subject) {
  const auto at = std::ranges::find(list, subject, &Diagnosis::subject);
  return at == list.end() ? nullptr : &*at;
}

TEST(JobReport, OfAHostTravelsAsText) {
  HostReport sent = host("a", 4);
  sent.diagnoses.push_back({.subject = "x", .verdict = Grade::kWarning, .text = "\"\n", .cure = "mend it"});
  const auto received = decode_host_report(encode(sent));
  ASSERT_TRUE(received.ok()) << received.status().text();
  EXPECT_EQ(*received, sent);
  for (const char* text : {"", "[]", "{\"name\": 1}"}) {
    const auto wrong = decode_host_report(text);
    ASSERT_FALSE(wrong.ok()) << text;
    EXPECT_EQ(wrong.status().code(), comm::Code::kCorrupt);
    EXPECT_THAT(wrong.status().message(), HasSubstr("another build of Rondo"));
  }
}

TEST(JobReport, EqualHostsDifferInNothing) {
  for (const Diagnosis& line : differences({host("a", 0), host("b", 2), host("c", 4)}))
    EXPECT_EQ(line.verdict, Grade::kGood) << line.subject << ": " << line.text;
}

struct Other {
  const char* subject;
  Grade verdict;
  const char* text;
  const char* cure;
  void (*make)(HostFacts&);
};
TEST(JobReport, EveryDifferenceThatMattersIsNamedWithWhoHasWhatAndTheCure) {
  const Other others[] = {
      {"Rondo", Grade::kWarning, "rondo 0.2 on b", "one build", [](HostFacts& f) { f.rondo = "rondo 0.2"; }},
      {"LibTorch", Grade::kWarning, "2.12.0 on b", "one LibTorch", [](HostFacts& f) { f.libtorch = "2.12.0"; }},
      {"vector instructions", Grade::kWarning, "none on a, c; avx2 fma on b", "ATEN_CPU_CAPABILITY",
       [](HostFacts& f) {
         f.cpu_features = {"avx2", "fma"};
       }},
      {"cpus", Grade::kWarning, "1 cpu usable, 1 core on b", "slowest rank",
       [](HostFacts& f) { f.cpus.push_back({.cpu = 0, .core = 0}); }},
      {"threads", Grade::kWarning, "OMP_NUM_THREADS=3 on b", "alike on all hosts",
       [](HostFacts& f) { f.omp_num_threads = "3"; }},
      {"open files", Grade::kWarning, "0 on a, c; 64 on b", "ulimit -n", [](HostFacts& f) { f.open_files = 64; }},
      {"locked memory", Grade::kNote, "no limit on b", "", [](HostFacts& f) { f.locked_bytes = UINT64_MAX; }},
      {"packets", Grade::kWarning, "MTU 1500, 9000 on b", "one MTU",
       [](HostFacts& f) {
         f.packet_bytes = {1500, 9000};
       }},
  };
  for (const Other& other : others) {
    HostFacts facts;
    other.make(facts);
    const auto found = differences({host("a", 0), host("b", 2, facts), host("c", 4)});
    const Diagnosis* line = find(found, other.subject);
    ASSERT_NE(line, nullptr) << other.subject;
    EXPECT_EQ(line->verdict, other.verdict) << line->text;
    EXPECT_THAT(line->text, HasSubstr(other.text));
    EXPECT_THAT(line->cure, HasSubstr(other.cure));
    EXPECT_EQ(found.size(), 2u) << "that line, and the clocks";
  }
}

TEST(JobReport, ClocksThatPartAndHostsOfOtherSizesAreSaid) {
  HostReport ahead = host("b", 2), larger = host("c", 4);
  ahead.clock_milliseconds += 2500;
  larger.rank_count = 3;
  const auto found = differences({host("a", 0), ahead, larger});
  const Diagnosis *clocks = find(found, "clocks"), *ranks = find(found, "ranks of a host");
  ASSERT_TRUE(clocks != nullptr && ranks != nullptr);
  EXPECT_EQ(clocks->verdict, Grade::kWarning);
  EXPECT_EQ(clocks->text, "b is 2.5 s ahead of a");
  EXPECT_THAT(clocks->cure, HasSubstr("chrony"));
  EXPECT_EQ(ranks->verdict, Grade::kNote);
  EXPECT_THAT(ranks->text, HasSubstr("2 ranks on a, b; 3 ranks on c"));
}

TEST(JobReport, SaysOnceWhatAllHostsSayAndTellsHostsOfOneNameApart) {
  JobReport report{.rank_count = 4,
                   .started = "started by hand",
                   .hosts = {host("node", 0), host("node", 2)},
                   .all_ranks = {{.subject = "all-reduce", .text = "right"}}};
  report.hosts[1].diagnoses.push_back({.subject = "disk", .verdict = Grade::kBad, .text = "full", .cure = "empty it"});
  EXPECT_EQ(job_text(report),
            "2 hosts, 4 ranks, started by hand\n\n"
            "all 2 hosts, the same\n[good   ] memory: 16.0 GiB\n[good   ] host name: node\n\n"
            "host node (rank 0) and 1 other rank\n\n"
            "host node (rank 2) and 1 other rank\n[bad    ] disk: full\n          empty it\n\n"
            "hosts compared\n[good   ] clocks: within 1 s of each other\n\n"
            "all ranks together\n[good   ] all-reduce: right\n");
  EXPECT_EQ(worst(report), Grade::kBad);
  const auto json = nlohmann::json::parse(job_json(report));
  EXPECT_EQ(json["verdict"], "bad");
  EXPECT_EQ(json["hosts"].size(), 2u);
  EXPECT_EQ(json["hosts"][1]["diagnoses"].size(), 3u);
  EXPECT_EQ(json["all_ranks"][0]["subject"], "all-reduce");
}

TEST(JobReport, OfOneHostComparesNothing) {
  const JobReport report{.rank_count = 2, .started = "started by hand", .hosts = {host("a", 0)}, .all_ranks = {}};
  EXPECT_THAT(job_text(report), AllOf(HasSubstr("1 host, 2 ranks"), HasSubstr("memory: 16.0 GiB"),
                                      Not(HasSubstr("compared")), Not(HasSubstr("the same"))));
}

}  // namespace
}  // namespace rondo::launcher

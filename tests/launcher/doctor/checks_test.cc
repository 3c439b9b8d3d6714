#include "launcher/doctor/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace rondo::launcher {
namespace {

using testing::HasSubstr;

HostFacts healthy() {
  HostFacts facts;
  facts.name = "node7";
  facts.name_addresses = {"10.0.0.7"};
  for (int cpu = 0; cpu < 4; ++cpu) facts.cpus.push_back({.cpu = cpu, .core = cpu});
  facts.cpus_of_machine = 4;
  facts.memory_bytes = 16ull << 30;
  facts.open_files = facts.open_files_hard = 1 << 20;
  facts.locked_bytes = 64 << 10;
  facts.loopback_up = true;
  facts.parts = {{"rondo-exec", "/bin/rondo-exec", ""}, {"rondo-train", "/bin/rondo-train", ""}};
  facts.disk_free_bytes = 100ull << 30;
  return facts;
}

Diagnosis found(const HostFacts& facts, const std::string& subject) {
  for (const Diagnosis& diagnosis : check_host(facts))
    if (diagnosis.subject == subject) return diagnosis;
  return {.subject = "no diagnosis about " + subject, .verdict = Grade::kBad};
}

TEST(Doctor, FindsAHealthyHostGood) {
  for (const Diagnosis& diagnosis : check_host(healthy())) EXPECT_EQ(diagnosis.verdict, Grade::kGood) << diagnosis.text;
}

TEST(Doctor, ReadsTheBlasOutOfWhatLibTorchSaysOfItself) {
  const std::string mkl =
      "PyTorch built with:\n  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 2\n"
      "  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release\n";
  EXPECT_EQ(blas_in(mkl), "MKL 2024.2");
  EXPECT_EQ(blas_in("  - Build settings: BLAS_INFO=open, BUILD_TYPE=Release\n"), "OpenBLAS");
  EXPECT_EQ(blas_in("  - Build settings: BLAS_INFO=accelerate\n"), "accelerate");
  EXPECT_EQ(blas_in("  - Build settings: BUILD_TYPE=Release\n"), "");
  EXPECT_EQ(blas_in("unknown flag --libtorch"), std::nullopt);
}

struct Ill {
  const char* subject;
  Grade verdict;
  const char* text;
  const char* cure;
  void (*make)(HostFacts&);
};
TEST(Doctor, NamesWhatIsWrongAndTheCure) {
  const Ill ills[] = {
      {"cpus", Grade::kWarning, "the time of 1.5", "cpu limit", [](HostFacts& f) { f.cpu_quota = 1.5; }},
      {"cpus", Grade::kNote, "4 cpus of 8 usable", "", [](HostFacts& f) { f.cpus_of_machine = 8; }},
      {"threads", Grade::kWarning, "OMP_NUM_THREADS=9", "unset", [](HostFacts& f) { f.omp_num_threads = "9"; }},
      {"threads", Grade::kWarning, "OMP_NUM_THREADS=many", "unset", [](HostFacts& f) { f.omp_num_threads = "many"; }},
      {"threads", Grade::kGood, "OMP_NUM_THREADS=4", "", [](HostFacts& f) { f.omp_num_threads = "4"; }},
      {"memory", Grade::kWarning, "the cgroup allows 1.0 GiB", "fewer ranks",
       [](HostFacts& f) { f.memory_limit_bytes = 1 << 30; }},
      {"open files", Grade::kWarning, "1024", "ulimit -n 4096", [](HostFacts& f) { f.open_files = 1024; }},
      {"open files", Grade::kBad, "256", "hard limit", [](HostFacts& f) { f.open_files = f.open_files_hard = 256; }},
      {"network", Grade::kBad, "loopback interface is down", "ip link set lo up",
       [](HostFacts& f) { f.loopback_up = false; }},
      {"network", Grade::kBad, "no port", "ip_local_port_range", [](HostFacts& f) { f.loopback_problem = "no port"; }},
      {"host name", Grade::kWarning, "leads to no address", "/etc/hosts",
       [](HostFacts& f) { f.name_addresses.clear(); }},
      {"host name", Grade::kNote, "node7 leads to 127.0.1.1", "",
       [](HostFacts& f) { f.name_addresses = {"127.0.1.1"}; }},
      {"run folder", Grade::kBad, "denied", "--run-dir", [](HostFacts& f) { f.folder_problem = "denied"; }},
      {"run folder", Grade::kWarning, "0.0 GiB", "make room", [](HostFacts& f) { f.disk_free_bytes = 1; }},
      {"rondo-exec", Grade::kBad, "missing", "without it nothing",
       [](HostFacts& f) { f.parts[0].problem = "missing"; }},
      {"rondo-train", Grade::kWarning, "missing", "./dev setup", [](HostFacts& f) { f.parts[1].problem = "missing"; }},
      {"LibTorch", Grade::kGood, "2.11.0+cpu", "", [](HostFacts& f) { f.libtorch = "2.11.0+cpu"; }},
      {"BLAS", Grade::kGood, "not seen", "", [](HostFacts&) {}},
      {"BLAS", Grade::kGood, "MKL 2024.2", "", [](HostFacts& f) { f.blas = "MKL 2024.2"; }},
      {"BLAS", Grade::kWarning, "built without one", "with MKL or OpenBLAS", [](HostFacts& f) { f.blas = ""; }},
      {"network", Grade::kNote, "somebody listens at 29500", "", [](HostFacts& f) { f.taken_ports = {"29500"}; }},
      {"other launchers", Grade::kGood, "built without MPI", "", [](HostFacts&) {}},
      {"other launchers", Grade::kGood, "meet by MPI of mpich", "", [](HostFacts& f) { f.mpi_components = {"mpich"}; }},
      {"OpenMP", Grade::kWarning, "2 runtimes", "one program: a, b",
       [](HostFacts& f) {
         f.openmp_copies = {"a", "b"};
       }},
      {"other launchers", Grade::kNote, "SLURM_JOB_ID", "", [](HostFacts& f) { f.launchers = {"SLURM_JOB_ID"}; }},
      {"GPUs", Grade::kNote, "2 GPUs", "", [](HostFacts& f) { f.gpus = 2; }},
  };
  for (const Ill& ill : ills) {
    HostFacts facts = healthy();
    ill.make(facts);
    const Diagnosis diagnosis = found(facts, ill.subject);
    EXPECT_EQ(diagnosis.verdict, ill.verdict) << ill.subject << ": " << diagnosis.text;
    EXPECT_THAT(diagnosis.text + " / " + diagnosis.cure, testing::AllOf(HasSubstr(ill.text), HasSubstr(ill.cure)));
    if (diagnosis.verdict >= Grade::kWarning) {
      EXPECT_NE(diagnosis.cure, "") << ill.subject;
    }
  }
}

TEST(Doctor, PrintsTheCureBelowAndTheWorstVerdictAsJson) {
  const std::vector<Diagnosis> diagnoses{
      {.subject = "a", .text = "fine"},
      {.subject = "b", .verdict = Grade::kWarning, .text = "\x1b", .cure = "mend it"}};
  EXPECT_EQ(diagnoses_text(diagnoses), "[good   ] a: fine\n[warning] b: \\x1b\n          mend it\n");
  const auto json = nlohmann::json::parse(diagnoses_json(diagnoses));
  EXPECT_EQ(json["verdict"], "warning");
  EXPECT_EQ(json["diagnoses"][1]["cure"], "mend it");
}

}  // namespace
}  // namespace rondo::launcher

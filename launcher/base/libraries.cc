#include "launcher/base/libraries.h"

#include <google/protobuf/stubs/common.h>
#include <hwloc.h>
#include <openssl/opensslv.h>
#include <toml++/toml.h>
#include <CLI/Version.hpp>

#include <nlohmann/json.hpp>

#include "launcher/control/grpc_limits.h"

namespace rondo::launcher {
namespace {

std::string dotted(unsigned major, unsigned minor, unsigned patch) {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

}  // namespace

std::vector<Library> libraries() {
  return {
      {"protobuf", google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION)},
      {"grpc", grpc_version()},
      {"openssl", OPENSSL_FULL_VERSION_STR},
      {"hwloc", HWLOC_VERSION},
      {"nlohmann_json", dotted(NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH)},
      {"toml++", dotted(TOML_LIB_MAJOR, TOML_LIB_MINOR, TOML_LIB_PATCH)},
      {"CLI11", CLI11_VERSION}};
}

std::vector<std::string> cpu_features() {
  std::vector<std::string> features;
  if (__builtin_cpu_supports("avx2")) features.emplace_back("avx2");
  if (__builtin_cpu_supports("fma")) features.emplace_back("fma");
  if (__builtin_cpu_supports("avx512f")) features.emplace_back("avx512f");
  if (__builtin_cpu_supports("avx512bw")) features.emplace_back("avx512bw");
  if (__builtin_cpu_supports("avx512vnni")) features.emplace_back("avx512vnni");
  if (__builtin_cpu_supports("avx512bf16")) features.emplace_back("avx512bf16");
  return features;
}

}  // namespace rondo::launcher

#include "rondo/random_streams.h"

#include <ATen/CPUGeneratorImpl.h>

#include <mutex>

#include "rondo/error.h"
#include "trainer/torch_bridge/generator_state.h"

namespace rondo {
namespace {

using trainer::default_generator;
using trainer::set_state;
using trainer::state_of;

constexpr uint64_t kGolden64 = 0x9e3779b97f4a7c15U;
constexpr uint32_t kGolden32 = 0x9e3779b9U;
constexpr std::string_view kShared = "shared/", kOwn = "own/", kDefault = "default";

/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
constexpr uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// Source: Appleby, MurmurHash3.
constexpr uint32_t mix32(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85ebca6bU;
  x = (x ^ (x >> 13)) * 0xc2b2ae35U;
  return x ^ (x >> 16);
}

/// Source: Fowler, Noll and Vo.
constexpr uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}
static_assert(fnv1a("a") == 0xaf63dc4c8601ec8cU);  // of its authors' list

}  // namespace

uint64_t stream_seed(uint64_t seed, std::string_view purpose, std::optional<int> rank) {
  const auto low = static_cast<uint32_t>(mix64(mix64(seed + kGolden64) + fnv1a(purpose)));
  return rank ? mix32(low + static_cast<uint32_t>(*rank + 1) * kGolden32) : low;
}

RandomStreams::RandomStreams(const Job& job, uint64_t seed) : rank_(job.rank), seed_(seed) { seed_default(); }

void RandomStreams::seed_default() {
  at::Generator generator = default_generator();
  const std::lock_guard lock(generator.mutex());
  generator.set_current_seed(stream_seed(seed_, kDefault, rank_));
}

at::Generator& RandomStreams::stream(const std::string& name) {
  const auto found = streams_.find(name);
  if (found != streams_.end()) return found->second;
  const bool is_shared = name.starts_with(kShared);
  const std::string_view purpose = std::string_view(name).substr(is_shared ? kShared.size() : kOwn.size());
  const uint64_t seed = stream_seed(seed_, purpose, is_shared ? std::nullopt : std::optional(rank_));
  return streams_.emplace(name, at::detail::createCPUGenerator(seed)).first->second;
}

at::Generator RandomStreams::shared(const std::string& purpose) { return stream(std::string(kShared) + purpose); }
at::Generator RandomStreams::own(const std::string& purpose) { return stream(std::string(kOwn) + purpose); }

RandomStreams::Scope::Scope(at::Generator stream) : stream_(std::move(stream)), before_(state_of(default_generator())) {
  set_state(default_generator(), state_of(stream_));
}

RandomStreams::Scope::~Scope() {
  set_state(stream_, state_of(default_generator()));
  set_state(default_generator(), before_);
}

std::vector<std::pair<std::string, at::Tensor>> RandomStreams::state() const {
  std::vector<std::pair<std::string, at::Tensor>> all{{std::string(kDefault), state_of(default_generator())}};
  for (const auto& [name, generator] : streams_) all.emplace_back(name, state_of(generator));
  return all;
}

void RandomStreams::restore(const std::vector<std::pair<std::string, at::Tensor>>& state) {
  const at::Tensor like = state_of(default_generator());
  for (const auto& [name, tensor] : state) {
    const bool known = name == kDefault || name.starts_with(kShared) || name.starts_with(kOwn);
    if (!known) throw Error("\"" + name + "\" is no random stream: default, shared/... or own/...", ExitCode::kCorrupt);
    if (!tensor.defined() || tensor.scalar_type() != like.scalar_type() || tensor.sizes() != like.sizes())
      throw Error("the state of random stream \"" + name + "\" is not one of LibTorch's CPU generator",
                  ExitCode::kCorrupt);
  }
  streams_.clear();
  seed_default();
  for (const auto& [name, tensor] : state) set_state(name == kDefault ? default_generator() : stream(name), tensor);
}

}  // namespace rondo

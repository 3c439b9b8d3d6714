/// Random numbers by purpose: the same on all ranks, or different on each.
///
/// Rondo shuffles and initialises alike on all ranks, but augmentation, dropout and latents must differ, or all ranks
/// train on the same noise. A stream is a generator of LibTorch's for the CPU, named by its purpose, whose seed depends
/// on (seed, purpose) and, of a rank's own, on the rank; so a new purpose disturbs no other, and any number of ranks
/// can be added.
///
/// Seeds: h = FNV-1a (64 bits) of the purpose; k = mix64(mix64(seed + g) + h) with SplitMix64's finaliser and constant
/// g = 0x9e3779b97f4a7c15. The generator uses 32 bits of a seed: a shared stream takes k's low ones, rank r's own takes
/// mix32(low bits + (r + 1) * 0x9e3779b9 mod 2^32), a bijection (MurmurHash3's finaliser), so no two ranks share a
/// seed. Threading: none of its own; a generator is used by one thread at a time.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rondo/job.h"

namespace rondo {

/// Of a stream. `rank`: nothing for one that all ranks share.
uint64_t stream_seed(uint64_t seed, std::string_view purpose, std::optional<int> rank);

class RandomStreams {
 public:
  /// Seeds LibTorch's default generator with this rank's own stream "default": what dropout, torch::randn() and their
  /// kin draw from where no generator is given. All ranks pass the same `seed`.
  RandomStreams(const Job& job, uint64_t seed);

  /// Equal on all ranks as long as all draw alike.
  at::Generator shared(const std::string& purpose);
  /// This rank's own.
  at::Generator own(const std::string& purpose);

  /// While it lives, LibTorch's default generator is the shared stream `purpose`: for layers, which take no generator.
  ///   Net net = [&] { auto scope = random.as_default("init"); return Net(); }();
  class [[nodiscard]] Scope {
   public:
    explicit Scope(at::Generator stream);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    at::Generator stream_;
    at::Tensor before_;
  };
  Scope as_default(const std::string& purpose) { return Scope(shared(purpose)); }

  uint64_t seed() const { return seed_; }
  /// Where every stream of this rank stands, by name ("shared/init", "own/dropout", "default"), for a checkpoint. Ranks
  /// differ, so each saves its own.
  std::vector<std::pair<std::string, at::Tensor>> state() const;
  /// All streams go on from there; those that `state` does not name start anew. Throws, naming it, for a name or a
  /// tensor that is none of a stream.
  void restore(const std::vector<std::pair<std::string, at::Tensor>>& state);

 private:
  void seed_default();
  at::Generator& stream(const std::string& name);
  const int rank_;
  const uint64_t seed_;
  std::map<std::string, at::Generator> streams_;  // "shared/..." and "own/..."
};

}  // namespace rondo

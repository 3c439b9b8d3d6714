// How fast the element loops are, beside memcpy and the plain reference.
//
//   taskset -c 1 build/ci/bin/rondo_kernels_bench --benchmark_repetitions=9 --benchmark_report_aggregates_only
//     [--benchmark_min_time=0.05] [--benchmark_filter=REGEX]
//
// "min" and "max" of the repetitions stand beside the median: on a busy machine the least is what the code can do.
// bytes_per_second counts every byte that is read or written: (operands + outputs) x size. Results are in place: output
// i is operand i, as in an all-reduce over shared memory. Each case is first run once and compared with the reference.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/kernels/kernels.h"
#include "comm/kernels/reference.h"
#include "rondo_commit.h"

namespace rondo::comm {
namespace {

struct Size {
  const char* name;
  size_t bytes;
};
constexpr Size kSizes[] = {{"1KiB", size_t{1} << 10}, {"16KiB", size_t{1} << 14}, {"128KiB", size_t{1} << 17},
                           {"1MiB", size_t{1} << 20}, {"8MiB", size_t{1} << 23},  {"64MiB", size_t{1} << 26}};
constexpr Size kLarge = kSizes[5];

constexpr DType kAllTypes[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16,
                               DType::kInt32,   DType::kInt64,   DType::kUInt8};

// Whole pages, as the regions of an all-reduce are: every operand begins at the same place of its page.
class Pages {
 public:
  explicit Pages(size_t byte_count)
      : bytes_(static_cast<std::byte*>(std::aligned_alloc(4096, (byte_count + 4095) / 4096 * 4096))) {}
  std::byte* data() const { return bytes_.get(); }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
};

// Numbers between 1 and 2 (integers: any), different in each operand and place.
void fill(DType type, Pages& pages, size_t byte_count, uint64_t operand) {
  const uint64_t ones[] = {0x3f800000, 0x3ff0000000000000, 0x3c00, 0x3f80, 0, 0, 0};
  const uint64_t masks[] = {0x7fffff, 0xfffffffffffff, 0x3ff, 0x7f, 0xffffffff, ~uint64_t{0}, 0xff};
  const auto kind = static_cast<size_t>(type);
  const size_t width = byte_width(type);
  for (size_t i = 0; i < byte_count / width; ++i) {
    const uint64_t drawn = ((i + 1) * 0x9e3779b97f4a7c15 + operand * 0xbf58476d1ce4e5b9) >> 11;
    const uint64_t bits = ones[kind] | (drawn & masks[kind]);
    std::memcpy(pages.data() + i * width, &bits, width);
  }
}

struct Shape {
  DType type;
  ReduceOp op;
  size_t operands;
  size_t outputs;
  size_t bytes;
  StoreKind stores = StoreKind::kPlain;
};

class Operands {
 public:
  explicit Operands(const Shape& shape) {
    for (size_t i = 0; i < shape.operands; ++i) {
      pages_.emplace_back(shape.bytes);
      fill(shape.type, pages_.back(), shape.bytes, i);
      from_.push_back(pages_.back().data());
    }
    for (size_t i = 0; i < shape.outputs; ++i) to_.push_back(pages_[i].data());
    request_ = {.dtype = shape.type,
                .op = shape.op,
                .operands = from_,
                .divisor = static_cast<double>(shape.operands),
                .outputs = to_,
                .element_count = static_cast<int64_t>(shape.bytes / byte_width(shape.type)),
                .stores = shape.stores};
  }
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;

  const ReduceMany& request() const { return request_; }

  // Runs once; empty when each output has the reference's bits.
  std::string verify(size_t bytes) {
    Pages expected(bytes);
    ReduceMany plain = request_;
    const std::array outputs{expected.data()};
    plain.outputs = outputs;
    if (!reference::reduce_many(plain).ok()) return "the reference knows no such reduction";
    if (!reduce_many(request_).ok()) return "reduce_many knows no such reduction";
    for (const std::byte* output : to_) {
      if (std::memcmp(output, expected.data(), bytes) != 0) return "another result than the reference's";
    }
    return {};
  }

 private:
  std::vector<Pages> pages_;
  std::vector<const std::byte*> from_;
  std::vector<std::byte*> to_;
  ReduceMany request_;
};

using Contender = Status (*)(const ReduceMany&);

// Google Benchmark calls this several times for one case; `verified` is shared by those calls.
void time_reduction(benchmark::State& state, const Shape& shape, Contender contender, bool& verified) {
  Operands operands(shape);
  if (!verified) {
    if (const std::string wrong = operands.verify(shape.bytes); !wrong.empty()) {
      state.SkipWithError(wrong.c_str());
      return;
    }
    verified = true;
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(contender(operands.request()).ok());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>((shape.operands + shape.outputs) * shape.bytes));
}

// Every benchmark comes through here.
void add(const std::string& title, const std::function<void(benchmark::State&)>& body) {
  benchmark::RegisterBenchmark(title.c_str(), body)
      ->ComputeStatistics("min", [](const auto& values) { return *std::min_element(values.begin(), values.end()); })
      ->ComputeStatistics("max", [](const auto& values) { return *std::max_element(values.begin(), values.end()); });
}

void add_reduction(const Shape& shape, const Size& size, const char* contender_name, Contender contender) {
  std::string title = std::string(contender_name) + "/" + std::string(name(shape.op)) + "/" +
                      std::string(name(shape.type)) + "/" + std::to_string(shape.operands) + "to" +
                      std::to_string(shape.outputs) + (shape.stores == StoreKind::kNonTemporal ? "/streamed" : "") +
                      "/" + size.name;
  Shape sized = shape;
  sized.bytes = size.bytes;
  add(title, [=, verified = std::make_shared<bool>(false)](benchmark::State& state) {
    time_reduction(state, sized, contender, *verified);
  });
}

void add_reductions() {
  constexpr struct {
    size_t operands, outputs;
  } kWays[] = {{2, 1}, {2, 2}, {3, 3}, {4, 1}, {4, 4}, {8, 1}, {8, 8}};
  for (const DType type : kAllTypes) {
    const ReduceOp op = is_floating(type) ? ReduceOp::kWeightedMean : ReduceOp::kSum;
    for (const auto& way : kWays) {
      Shape shape{.type = type, .op = op, .operands = way.operands, .outputs = way.outputs};
      for (const Size& size : kSizes) add_reduction(shape, size, "reduce_many", reduce_many);
      shape.stores = StoreKind::kNonTemporal;
      add_reduction(shape, kLarge, "reduce_many", reduce_many);
    }
    for (const Size& size : {kSizes[0], kSizes[3]}) {
      add_reduction({.type = type, .op = op, .operands = 2, .outputs = 1}, size, "reference", reference::reduce_many);
    }
    for (const ReduceOp other : {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kProduct, ReduceOp::kBitOr}) {
      if (!supports(type, other)) continue;
      add_reduction({.type = type, .op = other, .operands = 2, .outputs = 2}, kSizes[2], "reduce_many", reduce_many);
    }
  }
}

void time_copy(benchmark::State& state, size_t bytes, StoreKind stores) {
  Pages from(bytes);
  Pages to(bytes);
  fill(DType::kUInt8, from, bytes, 1);
  copy_bytes(from.data(), to.data(), bytes, stores);
  if (std::memcmp(from.data(), to.data(), bytes) != 0) {
    state.SkipWithError("the copy differs");
    return;
  }
  for (auto _ : state) {
    copy_bytes(from.data(), to.data(), bytes, stores);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(2 * bytes));
}

void add_copies() {
  for (const Size& size : kSizes) {
    const size_t bytes = size.bytes;
    add("memcpy/" + std::string(size.name),
        [=](benchmark::State& state) { time_copy(state, bytes, StoreKind::kPlain); });
    add("copy_bytes/streamed/" + std::string(size.name),
        [=](benchmark::State& state) { time_copy(state, bytes, StoreKind::kNonTemporal); });
  }
}

// `bytes` of fp32 on the wide side, half as many on the other.
struct Conversion {
  void (*vectors)(DType type, Pages& wide, Pages& half, int64_t count);
  void (*plain)(DType type, Pages& wide, Pages& half, int64_t count);
};

void widen_vectors(DType type, Pages& wide, Pages& half, int64_t count) {
  widen(type, half.data(), reinterpret_cast<float*>(wide.data()), count);
}
void widen_plain(DType type, Pages& wide, Pages& half, int64_t count) {
  reference::widen(type, half.data(), reinterpret_cast<float*>(wide.data()), count);
}
void narrow_vectors(DType type, Pages& wide, Pages& half, int64_t count) {
  narrow(reinterpret_cast<const float*>(wide.data()), type, half.data(), count);
}
void narrow_plain(DType type, Pages& wide, Pages& half, int64_t count) {
  reference::narrow(reinterpret_cast<const float*>(wide.data()), type, half.data(), count);
}

void time_conversion(benchmark::State& state, const Conversion& conversion, DType type, size_t bytes, bool plain) {
  const auto count = static_cast<int64_t>(bytes / sizeof(float));
  Pages wide(bytes);
  Pages half(bytes / 2);
  Pages wide_expected(bytes);
  Pages half_expected(bytes / 2);
  for (Pages* pages : {&wide, &wide_expected}) fill(DType::kFloat32, *pages, bytes, 3);
  for (Pages* pages : {&half, &half_expected}) fill(type, *pages, bytes / 2, 4);
  conversion.vectors(type, wide, half, count);
  conversion.plain(type, wide_expected, half_expected, count);
  if (std::memcmp(wide.data(), wide_expected.data(), bytes) != 0 ||
      std::memcmp(half.data(), half_expected.data(), bytes / 2) != 0) {
    state.SkipWithError("another result than the reference's");
    return;
  }
  const auto run = plain ? conversion.plain : conversion.vectors;
  for (auto _ : state) {
    run(type, wide, half, count);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes + bytes / 2));
}

void add_conversions() {
  const struct {
    const char* name;
    Conversion conversion;
  } ways[] = {{"widen", {widen_vectors, widen_plain}}, {"narrow", {narrow_vectors, narrow_plain}}};
  for (const auto& way : ways) {
    for (const DType type : {DType::kFloat16, DType::kBFloat16}) {
      for (const Size& size : kSizes) {
        for (const bool plain : {false, true}) {
          if (plain && size.bytes != kSizes[3].bytes) continue;
          const std::string title =
              (plain ? "reference_" : "") + std::string(way.name) + "/" + std::string(name(type)) + "/" + size.name;
          add(title, [=, bytes = size.bytes, conversion = way.conversion](benchmark::State& state) {
            time_conversion(state, conversion, type, bytes, plain);
          });
        }
      }
    }
  }
}

void add_all() {
  benchmark::AddCustomContext("rondo commit", build::kCommit);
  benchmark::AddCustomContext("build", RONDO_BUILD);
  benchmark::AddCustomContext("instruction set", std::string(kernel_target()));
  add_copies();
  add_reductions();
  add_conversions();
}

}  // namespace
}  // namespace rondo::comm

int main(int argc, char** argv) {
  rondo::comm::add_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

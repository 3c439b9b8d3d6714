/// Gloo over TCP on loopback as a contender. Its ranks meet in a file store in the run's folder; torchrun's variables
/// say who is who.
#include <gloo/allgather.h>
#include <gloo/allreduce.h>
#include <gloo/allreduce_halving_doubling.h>
#include <gloo/allreduce_ring_chunked.h>
#include <gloo/barrier.h>
#include <gloo/broadcast.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/rendezvous/prefix_store.h>
#include <gloo/transport/tcp/device.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "tests/bench/peers/peer.h"

namespace rondo::bench {
namespace {

using comm::Code;
using comm::DType;
using comm::Result;
using comm::Status;

constexpr std::chrono::seconds kTimeout{60};
// Polled, Gloo sends by writes that block until the kernel has taken all. Beyond what sockets buffer, two ranks that
// send to each other stand still for ever.
constexpr int64_t kMostBytesPolled = 4 << 20;

/// Gloo's interface of 2018 takes options at each call; the older one makes an object that is run again and again, and
/// only that one can poll its sockets instead of waiting for a thread.
enum class Variant { kRing, kBcube, kHalvingDoubling, kHalvingDoublingPolled, kRingChunked };
const std::map<std::string, Variant> kVariants{
    {"ring", Variant::kRing},
    {"bcube", Variant::kBcube},
    {"halving-doubling", Variant::kHalvingDoubling},
    {"halving-doubling-polled", Variant::kHalvingDoublingPolled},
    {"ring-chunked", Variant::kRingChunked},
};

using GlooContext = std::shared_ptr<gloo::rendezvous::Context>;

/// The calls of one element type.
class Typed {
 public:
  virtual ~Typed() = default;
  virtual void prepare(const GlooContext& context, Variant variant, const Call& call) = 0;
  virtual void all_reduce(const GlooContext& context, Variant variant, const Call& call) = 0;
  virtual void all_gather(const GlooContext& context, const Call& call) = 0;
  virtual void broadcast(const GlooContext& context, const Call& call) = 0;
};

template <typename T>
class TypedCalls : public Typed {
 public:
  void prepare(const GlooContext& context, Variant variant, const Call& call) override {
    algorithm_.reset();
    const std::vector<T*> pointers{static_cast<T*>(call.whole.data)};
    const auto count = static_cast<int>(call.whole.element_count);
    if (variant == Variant::kRingChunked) {
      algorithm_ = std::make_unique<gloo::AllreduceRingChunked<T>>(context, pointers, count);
    } else if (variant == Variant::kHalvingDoubling || variant == Variant::kHalvingDoublingPolled) {
      algorithm_ = std::make_unique<gloo::AllreduceHalvingDoubling<T>>(context, pointers, count);
    }
  }

  void all_reduce(const GlooContext& context, Variant variant, const Call& call) override {
    if (algorithm_) return algorithm_->run();
    gloo::AllreduceOptions options(context);
    options.setAlgorithm(variant == Variant::kBcube ? gloo::AllreduceOptions::Algorithm::BCUBE
                                                    : gloo::AllreduceOptions::Algorithm::RING);
    options.setOutput(static_cast<T*>(call.whole.data), static_cast<size_t>(call.whole.element_count));
    void (*sum)(void*, const void*, const void*, size_t) = &gloo::sum<T>;
    options.setReduceFunction(sum);
    gloo::allreduce(options);
  }

  void all_gather(const GlooContext& context, const Call& call) override {
    gloo::AllgatherOptions options(context);
    options.setOutput(static_cast<T*>(call.whole.data), static_cast<size_t>(call.whole.element_count));
    gloo::allgather(options);
  }

  void broadcast(const GlooContext& context, const Call& call) override {
    gloo::BroadcastOptions options(context);
    options.setOutput(static_cast<T*>(call.whole.data), static_cast<size_t>(call.whole.element_count));
    options.setRoot(0);
    gloo::broadcast(options);
  }

 private:
  std::unique_ptr<gloo::Algorithm> algorithm_;
};

std::unique_ptr<Typed> make_typed(DType type) {
  switch (type) {
    case DType::kFloat32:
      return std::make_unique<TypedCalls<float>>();
    case DType::kFloat64:
      return std::make_unique<TypedCalls<double>>();
    case DType::kInt32:
      return std::make_unique<TypedCalls<int32_t>>();
    case DType::kInt64:
      return std::make_unique<TypedCalls<int64_t>>();
    case DType::kUInt8:
      return std::make_unique<TypedCalls<uint8_t>>();
    default:
      return nullptr;
  }
}

class GlooContender : public RivalContender {
 public:
  GlooContender(comm::Position at, std::string variant_name, Variant variant, const std::string& meeting_folder)
      : at_(at), variant_name_(std::move(variant_name)), variant_(variant) {
    gloo::transport::tcp::attr attributes;
    attributes.hostname = "127.0.0.1";
    auto device = gloo::transport::tcp::CreateDevice(attributes);
    gloo::rendezvous::FileStore files(meeting_folder);
    for (auto [prefix, context] : {std::pair{"calls", &context_}, {"meeting", &meeting_}}) {
      gloo::rendezvous::PrefixStore store(prefix, files);
      *context = std::make_shared<gloo::rendezvous::Context>(at.rank, at.world_size);
      (*context)->setTimeout(kTimeout);
      (*context)->connectFullMesh(store, device);
    }
    if (variant == Variant::kHalvingDoublingPolled) {
      for (int peer = 0; peer < at.world_size; ++peer) {
        if (peer != at.rank) context_->getPair(peer)->setSync(true, true);
      }
    }
  }

  comm::Position at() const override { return at_; }
  Label label() const override {
    return {.contender = "gloo-" + variant_name_, .algorithm = variant_name_, .transport = "tcp"};
  }

  Waiting waiting() const override {
    return variant_ == Variant::kHalvingDoublingPolled ? Waiting::kSpins : Waiting::kBlocks;
  }

  int64_t most_bytes() const override {
    return variant_ == Variant::kHalvingDoublingPolled ? kMostBytesPolled : Contender::most_bytes();
  }

  Result<Ticket> share(const Ticket& ticket) override {
    Ticket shared = ticket;
    gloo::BroadcastOptions options(meeting_);
    options.setOutput(reinterpret_cast<char*>(&shared), sizeof shared);
    options.setRoot(0);
    gloo::broadcast(options);
    return shared;
  }

  Status prepare(const Collective& collective, const Call& call) override {
    typed_ = make_typed(call.whole.dtype);
    if (!typed_) return {Code::kUnsupported, "Gloo has no " + std::string(name(call.whole.dtype)) + " here"};
    const std::map<std::string_view, void (GlooContender::*)(const Call&)> functions{
        {"all_reduce", &GlooContender::all_reduce},
        {"all_gather", &GlooContender::all_gather},
        {"broadcast", &GlooContender::broadcast},
        {"barrier", &GlooContender::barrier},
    };
    const auto function = functions.find(collective.name);
    if (function == functions.end()) return {Code::kUnsupported, "this driver has no " + std::string(collective.name)};
    function_ = function->second;
    if (collective.name == "all_reduce") typed_->prepare(context_, variant_, call);
    return {};
  }

  Status run(const Collective&, const Call& call) override {
    (this->*function_)(call);
    return {};
  }

 private:
  void all_reduce(const Call& call) { typed_->all_reduce(context_, variant_, call); }
  void all_gather(const Call& call) { typed_->all_gather(context_, call); }
  void broadcast(const Call& call) { typed_->broadcast(context_, call); }
  void barrier(const Call&) {
    gloo::BarrierOptions options(context_);
    gloo::barrier(options);
  }

  const comm::Position at_;
  const std::string variant_name_;
  const Variant variant_;
  GlooContext context_, meeting_;  // shared with Gloo's algorithms
  std::unique_ptr<Typed> typed_;
  void (GlooContender::*function_)(const Call&) = nullptr;
};

Result<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return Status(Code::kInvalidArgument, std::string(name) + " is not set");
  return std::string(value);
}

Result<std::unique_ptr<Contender>> make(const Request& request) {
  const auto rank = variable("RANK"), world_size = variable("WORLD_SIZE"), folder = variable("RONDO_RUN_DIR");
  for (const auto* value : {&rank, &world_size, &folder}) RONDO_TRY(*value);
  const auto variant = kVariants.find(request.variant.empty() ? "ring" : request.variant);
  if (variant == kVariants.end()) return Status(Code::kInvalidArgument, "unknown --variant " + request.variant);
  const std::string meeting_folder = *folder + "/gloo";
  std::filesystem::create_directories(meeting_folder);
  return std::unique_ptr<Contender>(
      std::make_unique<GlooContender>(comm::Position{.rank = std::stoi(*rank), .world_size = std::stoi(*world_size)},
                                      variant->first, variant->second, meeting_folder));
}

int run_gloo(int argc, char** argv) {
  try {
    return peer_main(argc, argv, "LOCAL_RANK", make);
  } catch (const std::exception& error) {  // Gloo's way to fail
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}

}  // namespace
}  // namespace rondo::bench

int main(int argc, char** argv) { return rondo::bench::run_gloo(argc, argv); }

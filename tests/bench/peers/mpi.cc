/// An MPI as a contender; compiled once against Open MPI and once against MPICH. Which of its settings are in force is
/// decided by how it was started; `--variant` only names them.
#include <mpi.h>

#include <limits>
#include <map>

#include "tests/bench/peers/peer.h"

namespace rondo::bench {
namespace {

using comm::Code;
using comm::DType;
using comm::Result;
using comm::Status;

MPI_Datatype mpi_type(DType type) {
  switch (type) {
    case DType::kFloat32:
      return MPI_FLOAT;
    case DType::kFloat64:
      return MPI_DOUBLE;
    case DType::kInt32:
      return MPI_INT32_T;
    case DType::kInt64:
      return MPI_INT64_T;
    case DType::kUInt8:
      return MPI_UINT8_T;
    default:
      return MPI_DATATYPE_NULL;
  }
}

/// Element counts of MPI are ints; prepare() checks.
int count_of(const comm::BufferView& view) { return static_cast<int>(view.element_count); }

using Function = int (*)(const Call& call);
const std::map<std::string_view, Function> kFunctions{
    {"all_reduce",
     [](const Call& call) {
       return MPI_Allreduce(MPI_IN_PLACE, call.whole.data, count_of(call.whole), mpi_type(call.whole.dtype), MPI_SUM,
                            MPI_COMM_WORLD);
     }},
    {"reduce_scatter",
     [](const Call& call) {
       return MPI_Reduce_scatter_block(call.whole.data, call.block_apart.data, count_of(call.block_apart),
                                       mpi_type(call.whole.dtype), MPI_SUM, MPI_COMM_WORLD);
     }},
    {"all_gather",
     [](const Call& call) {
       return MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, call.whole.data, count_of(call.own_block),
                            mpi_type(call.whole.dtype), MPI_COMM_WORLD);
     }},
    {"broadcast",
     [](const Call& call) {
       return MPI_Bcast(call.whole.data, count_of(call.whole), mpi_type(call.whole.dtype), 0, MPI_COMM_WORLD);
     }},
    {"barrier", [](const Call&) { return MPI_Barrier(MPI_COMM_WORLD); }},
};

class MpiContender : public RivalContender {
 public:
  explicit MpiContender(std::string variant) : variant_(std::move(variant)) {
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &at_.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &at_.world_size);
  }

  comm::Position at() const override { return at_; }
  Label label() const override {
    return {.contender = variant_.empty() ? RONDO_RIVAL : RONDO_RIVAL "-" + variant_,
            .algorithm = variant_.empty() ? "as shipped" : variant_,
            .transport = "mpi"};
  }

  Result<Ticket> share(const Ticket& ticket) override {
    Ticket shared = ticket;
    RONDO_TRY(checked(MPI_Bcast(&shared, sizeof shared, MPI_BYTE, 0, MPI_COMM_WORLD)));
    return shared;
  }

  Status prepare(const Collective& collective, const Call& call) override {
    const auto function = kFunctions.find(collective.name);
    if (function == kFunctions.end()) return {Code::kUnsupported, "this driver has no " + std::string(collective.name)};
    if (mpi_type(call.whole.dtype) == MPI_DATATYPE_NULL) {
      return {Code::kUnsupported, "MPI has no type for " + std::string(name(call.whole.dtype))};
    }
    if (call.whole.element_count > std::numeric_limits<int>::max()) {
      return {Code::kUnsupported, "MPI counts elements in an int: choose smaller --sizes"};
    }
    function_ = function->second;
    return {};
  }

  Status run(const Collective&, const Call& call) override { return checked(function_(call)); }

 private:
  static Status checked(int code) {
    if (code == MPI_SUCCESS) return {};
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(code, text, &length);
    return {Code::kIo, std::string(text, static_cast<size_t>(length))};
  }

  const std::string variant_;
  comm::Position at_;
  Function function_ = nullptr;
};

bool started = false;

int run_mpi(int argc, char** argv) {
  const bool is_openmpi = std::string_view(RONDO_RIVAL) == "openmpi";
  const int code = peer_main(argc, argv, is_openmpi ? "OMPI_COMM_WORLD_LOCAL_RANK" : "MPI_LOCALRANKID",
                             [](const Request& request) -> Result<std::unique_ptr<Contender>> {
                               if (MPI_Init(nullptr, nullptr) != MPI_SUCCESS)
                                 return Status(Code::kIo, "MPI_Init failed");
                               started = true;
                               return std::unique_ptr<Contender>(std::make_unique<MpiContender>(request.variant));
                             });
  // After a failure the others are inside a call that will never end: mpirun ends them.
  if (started && code == 0) MPI_Finalize();
  if (started && code != 0) MPI_Abort(MPI_COMM_WORLD, code);
  return code;
}

}  // namespace
}  // namespace rondo::bench

int main(int argc, char** argv) { return rondo::bench::run_mpi(argc, argv); }

/// How every operation of comm says what happened: a code, a sentence, and where.
///
/// A Status is cheap to copy (one shared pointer; none when ok) and may be passed between threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace rondo::comm {

/// What kind of failure. kPending is no error: the deadline of this wait passed, the operation goes on.
enum class Code : uint8_t {
  kOk,
  kPending,
  kInvalidArgument,  // the caller's mistake, seen before anything was sent
  kUnsupported,      // correct, but not built or not possible here
  kResource,         // memory, descriptors or another limit of this host
  kTimeout,          // a deadline passed; the group was aborted
  kPeerLost,         // a peer died or its link broke
  kClosed,           // a peer left in order
  kEvicted,          // the job went on without this rank: its peers are of a later generation
  kMismatch,         // ranks called different collectives, or the same with different arguments
  kCorrupt,          // bytes failed their checksum or broke the wire format
  kAborted,          // somebody called abort(); `where().peer` says who
  kUnauthenticated,  // the other side does not hold the job's secret
  kIo,               // the operating system said no
};

/// "kTimeout" and so on: the enumerator's name.
std::string_view name(Code code);

/// Where an error happened. -1 and empty mean "does not apply".
struct Where {
  int rank = -1;            // the rank that reports
  int peer = -1;            // the rank it is about
  std::string operation{};  // "all_reduce", "group creation", ...
  std::string tag{};        // bucket or user's tag
  int64_t sequence = -1;    // number of the collective in its group
  std::string phase{};      // "hop 2 of 6", "handshake", ...
};

class [[nodiscard]] Status {
 public:
  /// Ok.
  Status() = default;
  Status(Code code, std::string message, Where where = {});

  static Status pending();

  bool ok() const { return detail_ == nullptr; }
  bool is_pending() const { return code() == Code::kPending; }
  Code code() const { return detail_ ? detail_->code : Code::kOk; }
  const std::string& message() const;
  const Where& where() const;

  /// One line for people: "kTimeout: <message> (rank 0, peer 3, all_reduce, "layer3.weight", sequence 812, hop 2 of
  /// 6)".
  std::string text() const;

  /// The same error with the empty fields of its Where filled from `more`.
  Status at(const Where& more) const;

 private:
  struct Detail {
    Code code;
    std::string message;
    Where where;
  };
  std::shared_ptr<const Detail> detail_;  // shared by copies; immutable
};

/// A value, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::move(value)) {}         // NOLINT(google-explicit-constructor): `return value;`
  Result(Status status) : content_(std::move(status)) {}  // NOLINT(google-explicit-constructor): `return status;`

  bool ok() const { return std::holds_alternative<T>(content_); }
  Status status() const { return ok() ? Status() : std::get<Status>(content_); }
  T& value() & { return std::get<T>(content_); }
  const T& value() const& { return std::get<T>(content_); }
  T&& value() && { return std::get<T>(std::move(content_)); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }

 private:
  std::variant<Status, T> content_;
};

namespace detail {
inline Status to_status(Status status) { return status; }
template <typename T>
Status to_status(const Result<T>& result) {
  return result.status();
}
}  // namespace detail

}  // namespace rondo::comm

/// Returns the error of `expression` (a Status or Result) from the enclosing function; goes on when it is ok.
#define RONDO_TRY(expression)                                                                                      \
  do {                                                                                                             \
    if (auto rondo_status = ::rondo::comm::detail::to_status(expression); !rondo_status.ok()) return rondo_status; \
  } while (false)

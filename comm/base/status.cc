#include "rondo/comm/status.h"

namespace rondo::comm {

std::string_view name(Code code) {
  switch (code) {
    case Code::kOk:
      return "kOk";
    case Code::kPending:
      return "kPending";
    case Code::kInvalidArgument:
      return "kInvalidArgument";
    case Code::kUnsupported:
      return "kUnsupported";
    case Code::kResource:
      return "kResource";
    case Code::kTimeout:
      return "kTimeout";
    case Code::kPeerLost:
      return "kPeerLost";
    case Code::kClosed:
      return "kClosed";
    case Code::kEvicted:
      return "kEvicted";
    case Code::kMismatch:
      return "kMismatch";
    case Code::kCorrupt:
      return "kCorrupt";
    case Code::kAborted:
      return "kAborted";
    case Code::kUnauthenticated:
      return "kUnauthenticated";
    case Code::kIo:
      return "kIo";
  }
  return "unknown code";
}

Status::Status(Code code, std::string message, Where where) {
  if (code != Code::kOk) detail_ = std::make_shared<const Detail>(Detail{code, std::move(message), std::move(where)});
}

Status Status::pending() { return {Code::kPending, "not finished yet"}; }

const std::string& Status::message() const {
  static const std::string kEmpty;
  return detail_ ? detail_->message : kEmpty;
}

const Where& Status::where() const {
  static const Where kNowhere;
  return detail_ ? detail_->where : kNowhere;
}

std::string Status::text() const {
  if (ok()) return "kOk";
  std::string place;
  auto add = [&](const std::string& part) { place += (place.empty() ? "" : ", ") + part; };
  const Where& w = detail_->where;
  if (w.rank >= 0) add("rank " + std::to_string(w.rank));
  if (w.peer >= 0) add("peer " + std::to_string(w.peer));
  if (!w.operation.empty()) add(w.operation);
  if (!w.tag.empty()) add("\"" + w.tag + "\"");
  if (w.sequence >= 0) add("sequence " + std::to_string(w.sequence));
  if (!w.phase.empty()) add(w.phase);
  return std::string(name(detail_->code)) + ": " + detail_->message + (place.empty() ? "" : " (" + place + ")");
}

Status Status::at(const Where& more) const {
  if (ok()) return *this;
  Where w = detail_->where;
  if (w.rank < 0) w.rank = more.rank;
  if (w.peer < 0) w.peer = more.peer;
  if (w.operation.empty()) w.operation = more.operation;
  if (w.tag.empty()) w.tag = more.tag;
  if (w.sequence < 0) w.sequence = more.sequence;
  if (w.phase.empty()) w.phase = more.phase;
  return {detail_->code, detail_->message, std::move(w)};
}

}  // namespace rondo::comm

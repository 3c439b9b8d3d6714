#include "comm/schedule/schedule.h"

namespace rondo::comm {

std::string_view name(Order order) {
  switch (order) {
    case Order::kNone:
      return "none";
    case Order::kCanonical:
      return "canonical";
    case Order::kByChunk:
      return "by chunk";
    case Order::kLinear:
      return "linear";
  }
  return "unknown order";
}

std::string_view name(ActionKind kind) {
  switch (kind) {
    case ActionKind::kSend:
      return "send";
    case ActionKind::kReceive:
      return "receive";
    case ActionKind::kReduce:
      return "reduce";
    case ActionKind::kCopy:
      return "copy";
    case ActionKind::kScale:
      return "scale";
    case ActionKind::kSignal:
      return "signal";
    case ActionKind::kWait:
      return "wait";
  }
  return "unknown action";
}

}  // namespace rondo::comm

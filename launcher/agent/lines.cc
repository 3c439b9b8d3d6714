#include "launcher/agent/lines.h"

namespace rondo::launcher {
namespace {

/// The frame a terminal would show: behind the last carriage return that is not the end of the line.
std::string_view last_frame(std::string_view line) {
  while (line.ends_with('\r')) line.remove_suffix(1);
  const size_t at = line.rfind('\r');
  return at == std::string_view::npos ? line : line.substr(at + 1);
}

/// Bytes of `text` without an unfinished UTF-8 character at its end.
size_t whole_characters(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) break;
    if (byte >= 0xc0) {
      const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return back < length ? text.size() - back : text.size();
    }
  }
  return text.size();
}

}  // namespace

void LineAssembler::feed(std::string_view bytes, comm::TimePoint now, const Emit& emit) {
  for (size_t newline; (newline = bytes.find('\n')) != std::string_view::npos;) {
    pending_.append(bytes.substr(0, newline));
    bytes.remove_prefix(newline + 1);
    emit_pending(pending_.size(), emit);
  }
  if (!bytes.empty() && pending_.empty()) since_ = now;
  pending_.append(bytes);
  while (pending_.size() > kLongestLineBytes) {
    const size_t cut = whole_characters(std::string_view(pending_).substr(0, kLongestLineBytes));
    emit_pending(cut == 0 ? kLongestLineBytes : cut, emit);
    since_ = now;
  }
}

std::optional<comm::TimePoint> LineAssembler::stale_at() const {
  if (whole_characters(pending_) == 0) return std::nullopt;
  if (pending_.find('\r') != std::string::npos) return since_ + kFrameAfter;
  return since_ + kPartialAfter;
}

void LineAssembler::flush_stale(comm::TimePoint now, const Emit& emit) {
  if (const auto at = stale_at(); at && *at <= now) {
    emit_pending(whole_characters(pending_), emit);
    since_ = now;
  }
}

void LineAssembler::finish(const Emit& emit) {
  if (!pending_.empty()) emit_pending(pending_.size(), emit);
}

void LineAssembler::emit_pending(size_t byte_count, const Emit& emit) {
  emit(last_frame(std::string_view(pending_).substr(0, byte_count)));
  pending_.erase(0, byte_count);
}

}  // namespace rondo::launcher

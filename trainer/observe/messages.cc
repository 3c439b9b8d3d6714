#include "trainer/observe/messages.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <mutex>

#include "proto/worker.pb.h"

namespace rondo::trainer {
namespace {

constexpr size_t kMaxFrameBytes = 1U << 20;
constexpr std::chrono::seconds kPatience{2};

/// One frame: length, then the message. Texts are cut so that it fits.
std::string frame_of(const proto::WorkerMessage& message) {
  std::string body = message.SerializeAsString();
  if (body.size() > kMaxFrameBytes) return {};
  std::string frame;
  for (int shift = 0; shift < 32; shift += 8) frame += static_cast<char>(body.size() >> shift & 0xff);
  return frame + body;
}

std::string shortened(const std::string& text) { return text.substr(0, 64 * 1024); }

}  // namespace

struct MessageSender::State {
  std::mutex mutex;     // one frame at a time
  int descriptor = -1;  // guarded by mutex; -1 after the agent went away

  bool wait_writable(std::chrono::steady_clock::time_point deadline) const {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd handle{.fd = descriptor, .events = POLLOUT, .revents = 0};
    return ::poll(&handle, 1, static_cast<int>(std::max<int64_t>(left, 0))) > 0 && (handle.revents & POLLOUT) != 0;
  }

  ssize_t write_some(const char* data, size_t byte_count) const {
    const ssize_t count = ::send(descriptor, data, byte_count, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0 || errno != ENOTSOCK) return count;
    return ::write(descriptor, data, byte_count);  // a pipe
  }

  enum class IfBusy { kWait, kDrop };
  void send_frame(const proto::WorkerMessage& message, IfBusy if_busy) {
    const std::lock_guard lock(mutex);
    if (descriptor < 0) return;
    const std::string frame = frame_of(message);
    if (if_busy == IfBusy::kDrop && !wait_writable(std::chrono::steady_clock::now())) return;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (size_t done = 0; done < frame.size();) {
      const ssize_t count = write_some(frame.data() + done, frame.size() - done);
      if (count > 0) {
        done += static_cast<size_t>(count);
      } else if (count < 0 && errno == EINTR) {
        continue;
      } else if (!(count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && wait_writable(deadline))) {
        ::close(descriptor);  // gone, or deaf: half a frame may be on the way, so nothing more can follow
        descriptor = -1;
        return;
      }
    }
  }
};

MessageSender::MessageSender(int descriptor) : state_(std::make_unique<State>()) {
  if (descriptor < 0) return;
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0) return;
  ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
  ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  state_->descriptor = descriptor;
}

MessageSender::~MessageSender() {
  if (state_->descriptor >= 0) ::close(state_->descriptor);
}

bool MessageSender::connected() const {
  const std::lock_guard lock(state_->mutex);
  return state_->descriptor >= 0;
}

void MessageSender::hello(const WorkerHello& hello) {
  proto::WorkerMessage message;
  proto::Hello& content = *message.mutable_hello();
  content.set_rank(hello.rank);
  content.set_pid(::getpid());
  content.set_program(shortened(hello.program));
  content.set_torch_version(shortened(hello.torch_version));
  content.set_joined(shortened(hello.joined));
  state_->send_frame(message, State::IfBusy::kWait);
}

void MessageSender::progress(const TrainingProgress& progress) {
  proto::WorkerMessage message;
  proto::Progress& content = *message.mutable_progress();
  content.set_epoch(progress.epoch);
  content.set_epochs(progress.epochs);
  content.set_step(progress.step);
  content.set_steps(progress.steps);
  content.set_loss(progress.loss);
  content.set_learning_rate(progress.learning_rate);
  content.set_samples_per_second(progress.samples_per_second);
  content.set_phase(progress.phase);
  state_->send_frame(message, State::IfBusy::kDrop);
}

void MessageSender::say(const std::string& line) {
  proto::WorkerMessage message;
  message.mutable_say()->set_line(shortened(line));
  state_->send_frame(message, State::IfBusy::kWait);
}

void MessageSender::failure(const WorkerFailure& failure) {
  proto::WorkerMessage message;
  proto::Failure& content = *message.mutable_failure();
  content.set_code(shortened(failure.code));
  content.set_text(shortened(failure.text));
  content.set_culprit_rank(failure.culprit_rank);
  content.set_exit_code(failure.exit_code);
  state_->send_frame(message, State::IfBusy::kWait);
}

void MessageSender::goodbye(int exit_code) {
  proto::WorkerMessage message;
  message.mutable_goodbye()->set_exit_code(exit_code);
  state_->send_frame(message, State::IfBusy::kWait);
}

}  // namespace rondo::trainer

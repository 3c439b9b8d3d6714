/// What Rondo needs of LibTorch's autograd engine, in one place: everything here may change with the LibTorch version.
/// Checked against 2.11.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace torch::autograd {
struct Node;
}

namespace rondo::trainer {

/// Whether the hook's parameter received a gradient in this backward; an undefined one fires the hook all the same.
enum class Incoming : uint8_t { kGradient, kUndefined };

/// A hook that runs after autograd has accumulated into `parameter.grad()`. Holds the AccumulateGrad node alive
/// (autograd itself keeps only a weak reference); the destructor removes the hook.
class GradientHook {
 public:
  GradientHook(const at::Tensor& parameter, std::function<void(Incoming)> run);
  GradientHook(GradientHook&&) noexcept = default;
  GradientHook& operator=(GradientHook&&) = delete;
  ~GradientHook();

  /// False when `parameter` no longer accumulates through this node: module->to(dtype) replaces it, and no hook fires.
  bool still_on(const at::Tensor& parameter) const;

 private:
  std::shared_ptr<torch::autograd::Node> node_;  // shared with the graphs that end in this parameter
  uintptr_t key_ = 0;
};

/// The leaves that need a gradient and that `result` was computed from, each once. Those inside a node that runs a
/// backward of its own are not seen.
std::vector<at::Tensor> leaves_of(const at::Tensor& result);

/// Identifies the backward() under way on this thread; -1 outside.
int current_backward();
/// True inside a backward that was started by a node of another one (checkpointing).
bool inside_a_node();
/// Runs `run` in this thread after the last node of the backward under way; what it throws leaves backward(). Never
/// runs when a node throws before.
void at_end_of_backward(std::function<void()> run);
/// To be called where a nested backward ends: runs `run` at the end of the backward around it, if that one is started
/// from activation checkpointing of ours; otherwise never.
void at_end_of_outer_backward(std::function<void()> run);
/// Called inside a node, after a backward that the node started.
void hand_over_to_outer_backward();
/// True in a hook of backward(create_graph = true).
bool builds_a_graph();

/// Tensor code of ours inside a user's backward: no autograd, no version counters, no autocast.
class PlainTensorScope {
 public:
  PlainTensorScope();
  ~PlainTensorScope();
  PlainTensorScope(const PlainTensorScope&) = delete;
  PlainTensorScope& operator=(const PlainTensorScope&) = delete;

 private:
  struct Guards;
  std::unique_ptr<Guards> guards_;
};

}  // namespace rondo::trainer

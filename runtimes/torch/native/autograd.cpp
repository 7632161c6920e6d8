// Gradients: backward and grad, the modes, and graph nodes whose backward is managed code.
//
//   forward (managed) -> outputs joined to a ManagedNode -> ... -> the engine calls ManagedNode::apply -> backward (managed)
#include "shim.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/anomaly_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

namespace sapo {
namespace {

using torch::autograd::variable_list;

/// Calls the managed backward with one gradient per output (nullptr: none came); it writes one owned gradient per tensor
/// input and returns nullptr, or a message that lives until the thread's next call.
using ApplyCallback = const char* (*)(void* context, TensorHandle* gradients, int32_t count, TensorHandle* results, int32_t result_count);
using ReleaseCallback = void (*)(void* context);

variable_list borrow_list(TensorHandle* handles, int32_t count) {
  variable_list list;
  list.reserve(count);
  for (int32_t i = 0; i < count; ++i) list.push_back(borrow(handles[i]));
  return list;
}

bool contains(TensorHandle* handles, int32_t count, const at::Tensor& tensor) {
  return std::find(handles, handles + count, tensor.unsafeGetTensorImpl()) != handles + count;
}

/// A node of the graph whose backward is managed code. It owns the managed context and the saved tensors.
struct ManagedNode : torch::autograd::Node {
  ManagedNode(void* context, ApplyCallback apply, ReleaseCallback release) : context_(context), apply_(apply), release_(release) {}
  ~ManagedNode() override { release_(context_); }

  variable_list apply(variable_list&& gradients) override {
    std::vector<TensorHandle> inputs;
    for (auto& gradient : gradients) inputs.push_back(hand_over(std::move(gradient)));
    std::vector<TensorHandle> results(num_outputs(), nullptr);
    const char* error = apply_(context_, inputs.data(), static_cast<int32_t>(inputs.size()), results.data(), static_cast<int32_t>(results.size()));
    variable_list list;
    for (auto* handle : results) {
      list.push_back(borrow(handle));
      if (handle != nullptr) c10::raw::intrusive_ptr::decref(handle);
    }
    TORCH_CHECK(error == nullptr, error);
    return list;
  }

  void release_variables() override {
    saved_.clear();
    released_ = true;
  }

  std::string name() const override { return "ManagedNode"; }

  void save(std::shared_ptr<torch::autograd::Node> self) {
    for (const auto& tensor : to_save_)
      saved_.emplace_back(tensor, tensor.defined() && tensor.grad_fn() == self);
    to_save_.clear();
  }

  variable_list to_save_;
  std::vector<torch::autograd::SavedVariable> saved_;
  bool released_ = false;

 private:
  void* context_;
  ApplyCallback apply_;
  ReleaseCallback release_;
};

/// What the managed side holds while forward runs; the graph holds the node afterwards.
struct NodeHolder {
  std::shared_ptr<ManagedNode> node;
};

/// One output of a managed forward, joined to the node. Every output has a place among backward's gradients, whether
/// one can flow through it or not.
at::Tensor join(const std::shared_ptr<ManagedNode>& node, at::Tensor output, bool is_input, bool differentiable, bool dirty) {
  const auto number = node->add_input_metadata(output);
  if (!differentiable) return is_input || output.requires_grad() ? output.detach() : output;
  if (dirty) {
    TORCH_CHECK(is_input, "mark_dirty was called with a tensor that is no input");
    torch::autograd::impl::rebase_history(output, {node, number});
    return output;
  }
  // An input that is passed through gets a tensor of its own; so does a view, which cannot have a second history.
  if (is_input || output.is_view() || output.requires_grad()) output = output.detach();
  torch::autograd::impl::set_gradient_edge(output, {node, number});
  return output;
}

}  // namespace
}  // namespace sapo

using namespace sapo;

SAPO_API const char* sapo_backward(TensorHandle* tensors, int32_t count, TensorHandle* gradients, int32_t gradient_count, int32_t retain_graph,
                                   int32_t create_graph, TensorHandle* inputs, int32_t input_count) {
  return guarded([&] {
    torch::autograd::backward(borrow_list(tensors, count), borrow_list(gradients, gradient_count), retain_graph != 0, create_graph != 0,
                              borrow_list(inputs, input_count));
  });
}

/// Gradients of the outputs with respect to the inputs, one owned handle per input (nullptr where unused and allowed).
SAPO_API const char* sapo_grad(TensorHandle* outputs, int32_t count, TensorHandle* inputs, int32_t input_count, TensorHandle* gradients,
                               int32_t gradient_count, int32_t retain_graph, int32_t create_graph, int32_t allow_unused, TensorHandle* results) {
  return guarded([&] {
    auto list = torch::autograd::grad(borrow_list(outputs, count), borrow_list(inputs, input_count), borrow_list(gradients, gradient_count),
                                      retain_graph != 0, create_graph != 0, allow_unused != 0);
    for (size_t i = 0; i < list.size(); ++i) results[i] = hand_over(std::move(list[i]));
  });
}

SAPO_API int32_t sapo_grad_enabled() { return at::GradMode::is_enabled() ? 1 : 0; }
SAPO_API void sapo_set_grad_enabled(int32_t enabled) { at::GradMode::set_enabled(enabled != 0); }
SAPO_API int32_t sapo_inference_enabled() { return c10::InferenceMode::is_enabled() ? 1 : 0; }
SAPO_API void* sapo_inference_enter(int32_t enabled) { return new c10::InferenceMode(enabled != 0); }
SAPO_API void sapo_inference_leave(void* guard) { delete static_cast<c10::InferenceMode*>(guard); }
SAPO_API int32_t sapo_anomaly_enabled() { return torch::autograd::AnomalyMode::is_enabled() ? 1 : 0; }
SAPO_API int32_t sapo_anomaly_checks_nan() { return torch::autograd::AnomalyMode::should_check_nan() ? 1 : 0; }
SAPO_API void sapo_set_anomaly(int32_t enabled, int32_t check_nan) { torch::autograd::AnomalyMode::set_enabled(enabled != 0, check_nan != 0); }

/// A node over the tensor inputs of a managed function. `release(context)` is called when the node has gone.
SAPO_API const char* sapo_node_create(TensorHandle* inputs, int32_t count, void* context, ApplyCallback apply, ReleaseCallback release, NodeHolder** result) {
  return guarded([&] {
    std::shared_ptr<ManagedNode> node(new ManagedNode(context, apply, release), torch::autograd::deleteNode);
    node->set_next_edges(torch::autograd::collect_next_edges(borrow_list(inputs, count)));
    *result = new NodeHolder{std::move(node)};
  });
}

/// Gives up the managed side's hold on the node.
SAPO_API void sapo_node_release(NodeHolder* holder) { delete holder; }

/// The node itself, for use inside its own backward.
SAPO_API void* sapo_node_address(NodeHolder* holder) { return holder->node.get(); }

/// Takes references to the tensors at once; they become saved variables when forward has ended.
SAPO_API const char* sapo_node_save(NodeHolder* holder, TensorHandle* tensors, int32_t count) {
  return guarded([&] { holder->node->to_save_ = borrow_list(tensors, count); });
}

/// Joins the outputs to the node (owned handles in `results`), then turns the tensors to save into saved variables.
SAPO_API const char* sapo_node_join(NodeHolder* holder, TensorHandle* inputs, int32_t input_count, TensorHandle* outputs, int32_t count,
                                    TensorHandle* fixed, int32_t fixed_count, TensorHandle* dirty, int32_t dirty_count, TensorHandle* results) {
  return guarded([&] {
    for (int32_t i = 0; i < count; ++i) {
      at::Tensor output = borrow(outputs[i]);
      const bool differentiable = !contains(fixed, fixed_count, output) && torch::autograd::isDifferentiableType(output.scalar_type());
      results[i] = hand_over(join(holder->node, output, contains(inputs, input_count, output), differentiable, contains(dirty, dirty_count, output)));
    }
    holder->node->save(holder->node);
  });
}

SAPO_API int32_t sapo_node_saved_count(ManagedNode* node) { return static_cast<int32_t>(node->saved_.size()); }

/// The saved tensors (owned handles), checked against later changes in place.
SAPO_API const char* sapo_node_saved(ManagedNode* node, TensorHandle* results) {
  return guarded([&] {
    TORCH_CHECK(!node->released_, torch::autograd::ERR_BACKWARD_TWICE);
    for (size_t i = 0; i < node->saved_.size(); ++i) results[i] = hand_over(node->saved_[i].unpack(node->shared_from_this()));
  });
}

// Shared by the files of the shim: how a tensor crosses the border, and how an error does.
//
// A tensor handle is a raw c10::TensorImpl*. The managed side owns one reference per handle that it was given and gives
// it back through sapo_tensor_release; handles that it passes in are borrowed for the length of the call.
//
// Every entry point that can fail returns nullptr, or the message of the exception: valid until the thread's next call.
#pragma once

#include <ATen/ATen.h>
#include <torch/version.h>

#include <exception>
#include <string>

#define SAPO_API extern "C" __attribute__((visibility("default")))

namespace sapo {

/// The names that libtorch moved to the standard library in 2.x.
#if TORCH_VERSION_MAJOR >= 2
template <class T> using optional = std::optional<T>;
inline constexpr auto nullopt = std::nullopt;
#else
template <class T> using optional = c10::optional<T>;
inline const auto nullopt = c10::nullopt;
#endif

using TensorHandle = c10::TensorImpl*;

/// The tensor behind a borrowed handle; the undefined tensor for nullptr.
inline at::Tensor borrow(TensorHandle handle) {
  if (handle == nullptr) return {};
  return at::Tensor(c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim_copy(handle));
}

/// A handle that owns one reference; nullptr for the undefined tensor.
inline TensorHandle hand_over(at::Tensor tensor) {
  return tensor.defined() ? tensor.unsafeReleaseTensorImpl() : nullptr;
}

/// Keeps a message for the managed side to read before this thread's next call.
const char* keep_message(const char* message);

/// Runs the body of an entry point; an exception becomes its message.
template <class Body> const char* guarded(Body&& body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    return keep_message(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return keep_message(error.what());
  } catch (...) {
    return keep_message("libtorch threw something that is no exception.");
  }
}

}  // namespace sapo

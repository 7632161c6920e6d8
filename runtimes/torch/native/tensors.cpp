// What a tensor is: shape, type, place, memory, gradient. Everything that computes goes through operators.cpp.
#include "shim.h"

#include <ATen/TensorIndexing.h>
#include <ATen/ops/from_blob.h>
#include <torch/csrc/autograd/variable.h>

#include <cstdint>
#include <vector>

using namespace sapo;

/// The facts of a tensor that are read most, in one call. The pointers are valid while the tensor lives unchanged.
struct TensorFacts {
  const int64_t* sizes;
  const int64_t* strides;
  int64_t dimensions;
  int64_t elements;
  int64_t storage_offset;
  int32_t scalar_type;
  int32_t device_type;
  int32_t device_index;
  int32_t element_size;
  int32_t is_contiguous;
  int32_t requires_grad;
  int32_t is_leaf;
  int32_t is_pinned;
};

SAPO_API void sapo_tensor_release(TensorHandle handle) {
  c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim(handle);
}

/// One more reference to the same tensor, for a second handle.
SAPO_API TensorHandle sapo_tensor_share(TensorHandle handle) { return hand_over(borrow(handle)); }

SAPO_API const char* sapo_tensor_facts(TensorHandle handle, TensorFacts* facts) {
  return guarded([&] {
    const at::Tensor tensor = borrow(handle);
    const bool strided = tensor.layout() == at::kStrided;
    facts->sizes = tensor.sizes().data();
    facts->strides = strided ? tensor.strides().data() : nullptr;
    facts->dimensions = tensor.dim();
    facts->elements = tensor.numel();
    facts->storage_offset = strided ? tensor.storage_offset() : 0;
    facts->scalar_type = static_cast<int32_t>(tensor.scalar_type());
    facts->device_type = static_cast<int32_t>(tensor.device().type());
    facts->device_index = tensor.device().index();
    facts->element_size = static_cast<int32_t>(tensor.element_size());
    facts->is_contiguous = strided && tensor.is_contiguous();
    facts->requires_grad = tensor.requires_grad();
    facts->is_leaf = tensor.is_leaf();
    facts->is_pinned = 0;
  });
}

SAPO_API const char* sapo_tensor_is_pinned(TensorHandle handle, int32_t* pinned) {
  return guarded([&] { *pinned = borrow(handle).is_pinned(); });
}

/// The address of the first element, in the memory of the tensor's device.
SAPO_API const char* sapo_tensor_data(TensorHandle handle, void** data) {
  return guarded([&] { *data = borrow(handle).data_ptr(); });
}

/// A tensor over the caller's memory; `release` is called with `context` when the last tensor over it has gone.
SAPO_API const char* sapo_tensor_over(void* data, const int64_t* sizes, int32_t dimensions, int32_t scalar_type, void* context,
                                      void (*release)(void*), TensorHandle* result) {
  return guarded([&] {
    const auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(scalar_type));
    *result = hand_over(at::from_blob(data, at::IntArrayRef(sizes, dimensions), [=](void*) { release(context); }, options));
  });
}

SAPO_API const char* sapo_tensor_set_requires_grad(TensorHandle handle, int32_t requires_grad) {
  return guarded([&] { borrow(handle).set_requires_grad(requires_grad != 0); });
}

/// Makes a tensor another's view of data, without a trace in the graph.
SAPO_API const char* sapo_tensor_set_data(TensorHandle handle, TensorHandle data) {
  return guarded([&] { borrow(handle).set_data(borrow(data)); });
}

/// The gradient, or nullptr where there is none.
SAPO_API const char* sapo_tensor_grad(TensorHandle handle, TensorHandle* gradient) {
  return guarded([&] { *gradient = hand_over(borrow(handle).grad()); });
}

/// Replaces the gradient; nullptr takes it away.
SAPO_API const char* sapo_tensor_set_grad(TensorHandle handle, TensorHandle gradient) {
  return guarded([&] {
    const at::Tensor value = borrow(gradient);
    if (value.defined()) {
      const at::Tensor tensor = borrow(handle);
      TORCH_CHECK(value.sizes() == tensor.sizes(), "assigned grad has data of a different size: ", value.sizes(), " for a tensor of ", tensor.sizes());
      TORCH_CHECK(value.scalar_type() == tensor.scalar_type(), "assigned grad has data of a different type");
      TORCH_CHECK(value.device() == tensor.device(), "assigned grad has data located on a different device");
    }
    borrow(handle).mutable_grad() = value;
  });
}

SAPO_API const char* sapo_tensor_retain_grad(TensorHandle handle) {
  return guarded([&] { borrow(handle).retain_grad(); });
}

namespace {

/// One position of an index expression; the managed enum of the same name has the same numbers.
enum class IndexKind : int32_t { None = 0, Single = 1, Null = 2, Ellipsis = 3, Bool = 4, Tensor = 5, Slice = 6 };

struct IndexPart {
  IndexKind kind;
  int32_t given;  // Slice: bit 0 a start is given, bit 1 a stop, bit 2 a step
  int64_t start;  // Single: the index; Bool: 0 or 1
  int64_t stop;
  int64_t step;
  TensorHandle tensor;
};

at::indexing::TensorIndex index_of(const IndexPart& part) {
  using at::indexing::TensorIndex;
  switch (part.kind) {
    case IndexKind::Single: return TensorIndex(part.start);
    case IndexKind::Ellipsis: return TensorIndex(at::indexing::Ellipsis);
    case IndexKind::Bool: return TensorIndex(part.start != 0);
    case IndexKind::Tensor: return TensorIndex(borrow(part.tensor));
    case IndexKind::Slice: {
      const auto given = [&](int bit, int64_t value) { return (part.given & bit) != 0 ? optional<int64_t>(value) : optional<int64_t>(); };
      return TensorIndex(at::indexing::Slice(given(1, part.start), given(2, part.stop), given(4, part.step)));
    }
    default: return TensorIndex(at::indexing::None);
  }
}

std::vector<at::indexing::TensorIndex> indices_of(const IndexPart* parts, int32_t count) {
  std::vector<at::indexing::TensorIndex> indices;
  indices.reserve(count);
  for (int32_t i = 0; i < count; ++i) indices.push_back(index_of(parts[i]));
  return indices;
}

}  // namespace

/// What Python writes as tensor[i, a:b, mask, ..., None].
SAPO_API const char* sapo_tensor_index(TensorHandle handle, const IndexPart* parts, int32_t count, TensorHandle* result) {
  return guarded([&] { *result = hand_over(borrow(handle).index(indices_of(parts, count))); });
}

/// What Python writes as tensor[...] = value.
SAPO_API const char* sapo_tensor_index_put(TensorHandle handle, const IndexPart* parts, int32_t count, TensorHandle value) {
  return guarded([&] { borrow(handle).index_put_(indices_of(parts, count), borrow(value)); });
}

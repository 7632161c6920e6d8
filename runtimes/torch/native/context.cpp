// The state of the process: random numbers, threads, devices, the version.
#include "shim.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <torch/cuda.h>

#include <cstdint>
#include <mutex>

using namespace sapo;

namespace {

at::Generator& cast(void* generator) { return *static_cast<at::Generator*>(generator); }

template <class Body> const char* locked(void* generator, Body&& body) {
  return guarded([&] {
    std::lock_guard<std::mutex> lock(cast(generator).mutex());
    body(cast(generator));
  });
}

}  // namespace

/// The version of the headers the shim was compiled with.
SAPO_API const char* sapo_version() { return TORCH_VERSION; }

/// The type of floating-point tensors whose type is not given.
SAPO_API const char* sapo_set_default_dtype(int32_t scalar_type) {
  return guarded([&] { c10::set_default_dtype(c10::scalarTypeToTypeMeta(static_cast<c10::ScalarType>(scalar_type))); });
}

SAPO_API int32_t sapo_default_dtype() { return static_cast<int32_t>(c10::get_default_dtype_as_scalartype()); }

SAPO_API const char* sapo_manual_seed(int64_t seed) {
  return guarded([&] { at::manual_seed(static_cast<uint64_t>(seed)); });
}

/// The default generator of a device; to be released like any other.
SAPO_API const char* sapo_generator_default(int32_t device_type, int32_t device_index, void** result) {
  return guarded([&] {
    const c10::Device device(static_cast<c10::DeviceType>(device_type), static_cast<c10::DeviceIndex>(device_index));
    *result = new at::Generator(at::globalContext().defaultGenerator(device));
  });
}

SAPO_API const char* sapo_generator_create(uint64_t seed, int32_t device_type, int32_t device_index, void** result) {
  return guarded([&] {
    if (device_type == static_cast<int32_t>(c10::DeviceType::CPU)) {
      *result = new at::Generator(at::make_generator<at::CPUGeneratorImpl>(seed));
      return;
    }
    const c10::Device device(static_cast<c10::DeviceType>(device_type), static_cast<c10::DeviceIndex>(device_index));
    auto generator = at::globalContext().defaultGenerator(device).clone();
    generator.set_current_seed(seed);
    *result = new at::Generator(std::move(generator));
  });
}

SAPO_API void sapo_generator_release(void* generator) { delete static_cast<at::Generator*>(generator); }

SAPO_API const char* sapo_generator_set_seed(void* generator, int64_t seed) {
  return locked(generator, [&](at::Generator& g) { g.set_current_seed(static_cast<uint64_t>(seed)); });
}

SAPO_API const char* sapo_generator_seed(void* generator, int64_t* seed) {
  return locked(generator, [&](at::Generator& g) { *seed = static_cast<int64_t>(g.seed()); });
}

SAPO_API const char* sapo_generator_initial_seed(void* generator, int64_t* seed) {
  return locked(generator, [&](at::Generator& g) { *seed = static_cast<int64_t>(g.current_seed()); });
}

SAPO_API const char* sapo_generator_state(void* generator, TensorHandle* state) {
  return locked(generator, [&](at::Generator& g) { *state = hand_over(g.get_state()); });
}

SAPO_API const char* sapo_generator_set_state(void* generator, TensorHandle state) {
  return locked(generator, [&](at::Generator& g) { g.set_state(borrow(state)); });
}

SAPO_API void sapo_generator_device(void* generator, int32_t* type, int32_t* index) {
  *type = static_cast<int32_t>(cast(generator).device().type());
  *index = cast(generator).device().index();
}

SAPO_API int32_t sapo_threads() { return at::get_num_threads(); }
SAPO_API const char* sapo_set_threads(int32_t count) { return guarded([&] { at::set_num_threads(count); }); }
SAPO_API int32_t sapo_interop_threads() { return static_cast<int32_t>(at::get_num_interop_threads()); }
SAPO_API const char* sapo_set_interop_threads(int32_t count) { return guarded([&] { at::set_num_interop_threads(count); }); }

SAPO_API int32_t sapo_cuda_devices() { return static_cast<int32_t>(torch::cuda::device_count()); }
SAPO_API int32_t sapo_cuda_has_cudnn() { return torch::cuda::is_available() && torch::cuda::cudnn_is_available() ? 1 : 0; }
SAPO_API const char* sapo_cuda_synchronize(int64_t index) { return guarded([&] { torch::cuda::synchronize(index); }); }
SAPO_API const char* sapo_cuda_seed(int64_t seed) { return guarded([&] { torch::cuda::manual_seed(static_cast<uint64_t>(seed)); }); }
SAPO_API const char* sapo_cuda_seed_all(int64_t seed) { return guarded([&] { torch::cuda::manual_seed_all(static_cast<uint64_t>(seed)); }); }

SAPO_API int32_t sapo_tf32_matmul() { return at::globalContext().allowTF32CuBLAS() ? 1 : 0; }
SAPO_API const char* sapo_set_tf32_matmul(int32_t allow) { return guarded([&] { at::globalContext().setAllowTF32CuBLAS(allow != 0); }); }
SAPO_API int32_t sapo_tf32_cudnn() { return at::globalContext().allowTF32CuDNN() ? 1 : 0; }
SAPO_API const char* sapo_set_tf32_cudnn(int32_t allow) { return guarded([&] { at::globalContext().setAllowTF32CuDNN(allow != 0); }); }

SAPO_API int32_t sapo_deterministic() { return at::globalContext().deterministicAlgorithms() ? 1 : 0; }
SAPO_API int32_t sapo_deterministic_warns() { return at::globalContext().deterministicAlgorithmsWarnOnly() ? 1 : 0; }
SAPO_API void sapo_set_deterministic(int32_t enabled, int32_t warn_only) {
  at::globalContext().setDeterministicAlgorithms(enabled != 0, warn_only != 0);
}

using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TorchSharp.Native;

/// <summary>What a value that crosses the border is; the numbers are those of the shim's enum of the same name.</summary>
internal enum ValueKind
{
    Default = 0,
    None = 1,
    Tensor = 2,
    Int = 3,
    Double = 4,
    Bool = 5,
    IntList = 6,
    DoubleList = 7,
    TensorList = 8,
    String = 9,
    Device = 10,
    Generator = 11,
}

/// <summary>One argument or result of an operator, as the shim lays it out (operators.cpp, Value).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NativeValue
{
    internal ValueKind Kind;
    internal int Length;
    internal long Bits;
}

/// <summary>What a tensor is, in one call (tensors.cpp, TensorFacts). The pointers live as long as the tensor is unchanged.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct TensorFacts
{
    internal long* Sizes;
    internal long* Strides;
    internal long Dimensions;
    internal long Elements;
    internal long StorageOffset;
    internal int ScalarType;
    internal int DeviceType;
    internal int DeviceIndex;
    internal int ElementSize;
    internal int IsContiguous;
    internal int RequiresGrad;
    internal int IsLeaf;
    internal int Padding;
}

/// <summary>One position of an index expression (tensors.cpp, IndexPart).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct IndexPart
{
    internal int Kind;
    internal int Given;
    internal long Start;
    internal long Stop;
    internal long Step;
    internal nint Tensor;
}

/// <summary>
/// The entry points of libsapo_torch.so. Those that return a pointer return null, or the message of a libtorch exception
/// (UTF-8, valid until the thread's next call): pass it to <see cref="Check"/>.
/// </summary>
internal static unsafe partial class NativeMethods
{
    private const string Library = "sapo_torch";

    static NativeMethods() => NativeLibrary.SetDllImportResolver(typeof(NativeMethods).Assembly, static (name, assembly, path) =>
        name == Library ? Load() : 0);

    /// <summary>Turns a message from libtorch into the exception that TorchSharp throws for it.</summary>
    internal static void Check(byte* message)
    {
        if (message is not null) Throw(message);
    }

    private static void Throw(byte* message) => throw new ExternalException(Marshal.PtrToStringUTF8((nint)message));

    private static nint Load()
    {
        string file = Path.Combine(AppContext.BaseDirectory, "libsapo_torch.so");
        if (!File.Exists(file)) throw new DllNotFoundException($"{file} is missing: the native half of this TorchSharp assembly. Run eng/setup.sh and build again.");
        try
        {
            return NativeLibrary.Load(file);
        }
        catch (DllNotFoundException missing)
        {
            throw new DllNotFoundException($"{file} does not load, most likely because libtorch or a library that it needs is missing. Run eng/setup.sh. ({missing.Message})", missing);
        }
    }

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial byte* sapo_operator_find(string name, string overload, out nint found);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int sapo_operator_exists(string name, string overload);

    [LibraryImport(Library)]
    internal static partial byte* sapo_operator_call(nint op, NativeValue* values, int length, NativeValue* results, int capacity,
        int* count);

    [LibraryImport(Library)]
    internal static partial void sapo_take_results(NativeValue* results);

    [LibraryImport(Library)]
    internal static partial void sapo_tensor_release(nint tensor);

    [LibraryImport(Library), SuppressGCTransition]
    internal static partial nint sapo_tensor_share(nint tensor);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_facts(nint tensor, out TensorFacts facts);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_is_pinned(nint tensor, out int pinned);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_data(nint tensor, out nint data);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_over(nint data, long* sizes, int dimensions, int scalarType, nint context,
        delegate* unmanaged[Cdecl]<nint, void> release, out nint result);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_set_requires_grad(nint tensor, int requiresGrad);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_set_data(nint tensor, nint data);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_grad(nint tensor, out nint gradient);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_set_grad(nint tensor, nint gradient);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_retain_grad(nint tensor);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_index(nint tensor, IndexPart* parts, int count, out nint result);

    [LibraryImport(Library)]
    internal static partial byte* sapo_tensor_index_put(nint tensor, IndexPart* parts, int count, nint value);

    [LibraryImport(Library)]
    internal static partial byte* sapo_backward(nint* tensors, int count, nint* gradients, int gradientCount, int retainGraph,
        int createGraph, nint* inputs, int inputCount);

    [LibraryImport(Library)]
    internal static partial byte* sapo_grad(nint* outputs, int count, nint* inputs, int inputCount, nint* gradients, int gradientCount,
        int retainGraph, int createGraph, int allowUnused, nint* results);

    [LibraryImport(Library), SuppressGCTransition]
    internal static partial int sapo_grad_enabled();

    [LibraryImport(Library), SuppressGCTransition]
    internal static partial void sapo_set_grad_enabled(int enabled);

    [LibraryImport(Library), SuppressGCTransition]
    internal static partial int sapo_inference_enabled();

    [LibraryImport(Library)]
    internal static partial nint sapo_inference_enter(int enabled);

    [LibraryImport(Library)]
    internal static partial void sapo_inference_leave(nint guard);

    [LibraryImport(Library)]
    internal static partial int sapo_anomaly_enabled();

    [LibraryImport(Library)]
    internal static partial int sapo_anomaly_checks_nan();

    [LibraryImport(Library)]
    internal static partial void sapo_set_anomaly(int enabled, int checkNaN);

    [LibraryImport(Library)]
    internal static partial byte* sapo_node_create(nint* inputs, int count, nint context,
        delegate* unmanaged[Cdecl]<nint, nint*, int, nint*, int, byte*> apply, delegate* unmanaged[Cdecl]<nint, void> release,
        out nint holder);

    [LibraryImport(Library)]
    internal static partial void sapo_node_release(nint holder);

    [LibraryImport(Library)]
    internal static partial nint sapo_node_address(nint holder);

    [LibraryImport(Library)]
    internal static partial byte* sapo_node_save(nint holder, nint* tensors, int count);

    [LibraryImport(Library)]
    internal static partial byte* sapo_node_join(nint holder, nint* inputs, int inputCount, nint* outputs, int count, nint* fixedOutputs,
        int fixedCount, nint* dirty, int dirtyCount, nint* results);

    [LibraryImport(Library)]
    internal static partial int sapo_node_saved_count(nint node);

    [LibraryImport(Library)]
    internal static partial byte* sapo_node_saved(nint node, nint* results);

    [LibraryImport(Library)]
    internal static partial byte* sapo_version();

    [LibraryImport(Library)]
    internal static partial byte* sapo_set_default_dtype(int scalarType);

    [LibraryImport(Library), SuppressGCTransition]
    internal static partial int sapo_default_dtype();

    [LibraryImport(Library)]
    internal static partial byte* sapo_manual_seed(long seed);

    [LibraryImport(Library)]
    internal static partial byte* sapo_generator_default(int deviceType, int deviceIndex, out nint generator);

    [LibraryImport(Library)]
    internal static partial byte* sapo_generator_create(ulong seed, int deviceType, int deviceIndex, out nint generator);

    [LibraryImport(Library)]
    internal static partial void sapo_generator_release(nint generator);

    [LibraryImport(Library)]
    internal static partial byte* sapo_generator_set_seed(nint generator, long seed);

    [LibraryImport(Library)]
    internal static partial byte* sapo_generator_seed(nint generator, out long seed);

    [LibraryImport(Library)]
    internal static partial byte* sapo_generator_initial_seed(nint generator, out long seed);

    [LibraryImport(Library)]
    internal static partial byte* sapo_generator_state(nint generator, out nint state);

    [LibraryImport(Library)]
    internal static partial byte* sapo_generator_set_state(nint generator, nint state);

    [LibraryImport(Library)]
    internal static partial void sapo_generator_device(nint generator, out int type, out int index);

    [LibraryImport(Library)]
    internal static partial int sapo_threads();

    [LibraryImport(Library)]
    internal static partial byte* sapo_set_threads(int count);

    [LibraryImport(Library)]
    internal static partial int sapo_interop_threads();

    [LibraryImport(Library)]
    internal static partial byte* sapo_set_interop_threads(int count);

    [LibraryImport(Library)]
    internal static partial int sapo_cuda_devices();

    [LibraryImport(Library)]
    internal static partial int sapo_cuda_has_cudnn();

    [LibraryImport(Library)]
    internal static partial byte* sapo_cuda_synchronize(long index);

    [LibraryImport(Library)]
    internal static partial byte* sapo_cuda_seed(long seed);

    [LibraryImport(Library)]
    internal static partial byte* sapo_cuda_seed_all(long seed);

    [LibraryImport(Library)]
    internal static partial int sapo_tf32_matmul();

    [LibraryImport(Library)]
    internal static partial byte* sapo_set_tf32_matmul(int allow);

    [LibraryImport(Library)]
    internal static partial int sapo_tf32_cudnn();

    [LibraryImport(Library)]
    internal static partial byte* sapo_set_tf32_cudnn(int allow);

    [LibraryImport(Library)]
    internal static partial int sapo_deterministic();

    [LibraryImport(Library)]
    internal static partial int sapo_deterministic_warns();

    [LibraryImport(Library)]
    internal static partial void sapo_set_deterministic(int enabled, int warnOnly);
}

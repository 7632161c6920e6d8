using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Sapo.Rollout.Decoding;

/// <summary>Binds tensors over native memory that outlives the binding.</summary>
internal static unsafe class TensorBinding
{
    /// <summary>Binds an input.</summary>
    public static void BindInput(this OrtIoBinding binding, string name, TensorElementType type, long[] shape, void* start, int elementSize)
    {
        using var value = TensorOver(type, shape, start, elementSize); // the binding keeps its own reference, and the memory is ours: the wrapper can go at once
        binding.BindInput(name, value);
    }

    /// <summary>Binds an output.</summary>
    public static void BindOutput(this OrtIoBinding binding, string name, TensorElementType type, long[] shape, void* start, int elementSize)
    {
        using var value = TensorOver(type, shape, start, elementSize);
        binding.BindOutput(name, value);
    }

    /// <summary>A tensor over native memory; the caller disposes the wrapper.</summary>
    public static OrtValue TensorOver(TensorElementType type, long[] shape, void* start, int elementSize)
    {
        long length = 1;
        foreach (var size in shape) length *= size;
        return OrtValue.CreateTensorValueWithData(OrtMemoryInfo.DefaultInstance, type, shape, (nint)start, length * elementSize);
    }
}

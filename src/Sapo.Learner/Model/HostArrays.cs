using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>Copies tensors of any device and precision to arrays of the host.</summary>
internal static class HostArrays
{
    /// <summary>All elements, row-major, widened or narrowed to double.</summary>
    public static double[] Double(Tensor values) => Copy<double>(values, ScalarType.Float64);

    /// <summary>All elements, row-major, as float.</summary>
    public static float[] Single(Tensor values) => Copy<float>(values, ScalarType.Float32);

    /// <summary>All elements, row-major, as long.</summary>
    public static long[] Int64(Tensor values) => Copy<long>(values, ScalarType.Int64);

    private static T[] Copy<T>(Tensor values, ScalarType type) where T : unmanaged
    {
        using var scope = NewDisposeScope();
        return values.to_type(type).cpu().contiguous().data<T>().ToArray();
    }
}

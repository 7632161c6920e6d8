// 32-bit weights -> the bytes of weights.<precision>.safetensors, a piece of some rows at a time. The scales of a matrix are
// found while its integers are made and kept until they are asked for, right after them.
using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;

namespace Sapo.Sync.Weights;

/// <summary>Makes the data of one file of reduced weights.</summary>
/// <param name="layout">Its layout.</param>
/// <param name="read">Reads weights of a parameter as 32-bit floats: its name, the first element, where they go.</param>
/// <param name="cancel">Looked at between two pieces.</param>
internal sealed class ReducedWeights(ReducedLayout layout, ReducedWeights.Reader read, CancellationToken cancel)
{
    private const int PieceElements = 1 << 20;

    private readonly Dictionary<string, long[]> _shapes = layout.Config.Parameters().ToDictionary(parameter => parameter.Name, parameter => parameter.Shape, StringComparer.Ordinal);
    private float[] _scales = [];

    /// <summary>Reads part of a parameter.</summary>
    public delegate void Reader(string name, long start, Span<float> destination);

    /// <summary>The data of the tensor at an index of the layout, in pieces. Indices are asked for in order.</summary>
    /// <exception cref="UserErrorException">A weight does not fit the precision.</exception>
    public IEnumerable<ReadOnlyMemory<byte>> Pieces(int index)
    {
        var tensor = layout.Tensors[index];
        return tensor.IsScale ? [MemoryMarshal.AsBytes(_scales.AsSpan()).ToArray()] : layout.Bits > 0 ? Integers(tensor) : Floats(tensor);
    }

    private IEnumerable<ReadOnlyMemory<byte>> Integers(ReducedTensor tensor)
    {
        var (rows, columns) = ((int)_shapes[tensor.Source][0], (int)_shapes[tensor.Source][1]);
        int blocks = (int)tensor.Header.Shape[1], rowBytes = blocks * (int)tensor.Header.Shape[2];
        var pieceRows = Math.Clamp(PieceElements / columns, 1, rows);
        var weights = new float[pieceRows * columns];
        var integers = new byte[pieceRows * rowBytes];
        _scales = new float[rows * blocks];
        for (var first = 0; first < rows; first += pieceRows)
        {
            cancel.ThrowIfCancellationRequested();
            var count = Math.Min(pieceRows, rows - first);
            read(tensor.Source, (long)first * columns, weights.AsSpan(0, count * columns));
            var firstRow = first;
            Parallel.For(0, count, row => BlockQuantization.Quantize(
                weights.AsSpan(row * columns, columns), layout.Bits, integers.AsSpan(row * rowBytes, rowBytes), _scales.AsSpan((firstRow + row) * blocks, blocks)));
            yield return integers.AsMemory(0, count * rowBytes);
        }
    }

    private IEnumerable<ReadOnlyMemory<byte>> Floats(ReducedTensor tensor)
    {
        var elements = tensor.Header.Bytes / sizeof(ushort);
        var weights = new float[Math.Min(elements, PieceElements)];
        var narrowed = new byte[weights.Length * sizeof(ushort)];
        for (long start = 0; start < elements; start += weights.Length)
        {
            cancel.ThrowIfCancellationRequested();
            var count = (int)Math.Min(weights.Length, elements - start);
            read(tensor.Source, start, weights.AsSpan(0, count));
            WeightConversion.FromSingle(weights.AsSpan(0, count), tensor.Header.Type, narrowed);
            CheckRange(tensor, weights.AsSpan(0, count));
            yield return narrowed.AsMemory(0, count * sizeof(ushort));
        }
    }

    private static void CheckRange(ReducedTensor tensor, ReadOnlySpan<float> weights)
    {
        const float LargestHalf = 65504;
        if (tensor.Header.Type != WeightType.F16) return;
        foreach (var weight in weights)
            if (Math.Abs(weight) > LargestHalf)
                throw new UserErrorException($"{tensor.Source} holds {weight}", $"at most {LargestHalf} in fp16", "Choose bf16, or fp32");
    }
}

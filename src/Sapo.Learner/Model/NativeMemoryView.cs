using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Sapo.Core;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>Native bytes as managed memory, without a copy. Their owner keeps them alive; they must not move or be freed meanwhile.</summary>
internal sealed unsafe class NativeMemoryView : MemoryManager<byte>
{
    private readonly byte* _start;
    private readonly int _length;

    private NativeMemoryView(byte* start, int length)
    {
        _start = start;
        _length = length;
    }

    /// <summary>The bytes of a part of a flat, contiguous Float32 tensor on the CPU.</summary>
    /// <param name="buffer">[n].</param>
    /// <param name="first">The first element.</param>
    /// <param name="count">Number of elements.</param>
    public static WeightData Of(Tensor buffer, long first, long count)
    {
        if (count == 0) return Array.Empty<byte>();
        using var scope = NewDisposeScope();
        var start = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(buffer.narrow(0, first, 1).bytes)); // one element: a span of all of them may be too long
        return new WeightData(count * sizeof(float), (from, length) => new NativeMemoryView(start + from, length).Memory);
    }

    /// <inheritdoc />
    public override Span<byte> GetSpan() => new(_start, _length);

    /// <inheritdoc />
    public override MemoryHandle Pin(int elementIndex = 0) => new(_start + elementIndex);

    /// <inheritdoc />
    public override void Unpin()
    {
    }

    /// <inheritdoc />
    protected override void Dispose(bool disposing)
    {
    }
}

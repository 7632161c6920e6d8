using System.Buffers;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>The bytes of a contiguous tensor on the CPU as managed memory, without a copy. The tensor's owner keeps it alive; it must not move or be freed meanwhile.</summary>
internal sealed unsafe class NativeMemoryView : MemoryManager<byte>
{
    private readonly byte* _start;
    private readonly int _length;

    /// <summary>Views a tensor of at most 2 GiB.</summary>
    public NativeMemoryView(Tensor tensor)
    {
        var bytes = tensor.bytes;
        _start = (byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref MemoryMarshal.GetReference(bytes));
        _length = bytes.Length;
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

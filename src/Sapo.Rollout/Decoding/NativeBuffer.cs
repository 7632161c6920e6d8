using System.Runtime.InteropServices;

namespace Sapo.Rollout.Decoding;

/// <summary>
/// One owned block of native memory, aligned to a cache line, that ONNX Runtime reads and writes in place. The runtime
/// only borrows it: whoever holds this object keeps it alive for as long as a binding points into it, then disposes it.
/// </summary>
internal sealed unsafe class NativeBuffer<T> : SafeHandle
    where T : unmanaged
{
    private const nuint Alignment = 64; // one cache line, and the widest vector load

    /// <summary>Allocates; the operating system commits pages when they are first written.</summary>
    /// <param name="length">Elements, not negative.</param>
    /// <param name="clear">Whether to fill with zeros, which touches every page.</param>
    public NativeBuffer(long length, bool clear = true)
        : base(0, ownsHandle: true)
    {
        Length = length;
        var bytes = (nuint)Math.Max(1, checked(length * sizeof(T)));
        SetHandle((nint)NativeMemory.AlignedAlloc(bytes, Alignment));
        if (clear) NativeMemory.Clear((void*)handle, bytes);
    }

    /// <summary>Number of elements.</summary>
    public long Length { get; }

    /// <inheritdoc />
    public override bool IsInvalid => handle == 0;

    /// <summary>The first element; valid until disposal.</summary>
    public T* Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return (T*)handle;
        }
    }

    /// <summary>All elements, of a buffer that a span can hold.</summary>
    public Span<T> Span => new(Pointer, checked((int)Length));

    /// <summary>Some neighbouring elements, also of a buffer that no span can hold as a whole.</summary>
    public Span<T> Slice(long start, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, Length - length);
        return new(Pointer + start, length);
    }

    /// <inheritdoc />
    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        return true;
    }
}

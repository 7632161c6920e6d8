using Sapo.Core.Models;
using Sapo.Rollout.Kernels;

namespace Sapo.Rollout.Decoding;

/// <summary>
/// The keys and values of all rows: per layer and side one native buffer [rows, key-value heads, positions, head size] of
/// floats, bound as past and as present at once, so a step writes its token in place. Within a head our own attention orders
/// keys by blocks of positions, so positions come in whole blocks. Shared by successive policy
/// versions; the scheduler sees to it that a row is read by the version that wrote it.
/// </summary>
internal sealed unsafe class KeyValueCache : IDisposable
{
    private readonly NativeBuffer<byte>[] _keys, _values;

    /// <summary>Reserves the memory; pages are committed when first written.</summary>
    public KeyValueCache(ModelConfig config, int rows, int positions, Precision precision = Precision.Fp32)
    {
        (Rows, Positions, ElementSize) = (rows, (int)WholeBlocks(positions), ElementSizeOf(precision));
        (LayerCount, Heads, HeadSize) = (config.LayerCount, config.KeyValueHeadCount, config.CacheHeadSize);
        var length = rows * RowBytes;
        _keys = new NativeBuffer<byte>[LayerCount];
        _values = new NativeBuffer<byte>[LayerCount];
        for (var layer = 0; layer < LayerCount; layer++)
            (_keys[layer], _values[layer]) = (new(length, clear: false), new(length, clear: false));
    }

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>Positions each row has room for, at least those asked for.</summary>
    public int Positions { get; }

    /// <summary>Number of layers.</summary>
    public int LayerCount { get; }

    /// <summary>Key-value heads.</summary>
    public int Heads { get; }

    /// <summary>Width of a head.</summary>
    public int HeadSize { get; }

    /// <summary>Bytes of an element: 4, or 2 where activations have 16 bits.</summary>
    public int ElementSize { get; }

    /// <summary>Bytes of one row in one buffer.</summary>
    public long RowBytes => (long)Heads * Positions * HeadSize * ElementSize;

    /// <summary>Size of all buffers in bytes.</summary>
    public long Bytes => checked(2L * LayerCount * Rows * RowBytes);

    /// <summary>What one row takes: keys and values of every layer and position.</summary>
    public static long BytesPerRow(ModelConfig config, int positions, Precision precision) =>
        checked((long)config.LayerCount * 2 * config.KeyValueHeadCount * config.CacheHeadSize * WholeBlocks(positions) * ElementSizeOf(precision));

    /// <summary>Where a row of a layer's keys begins.</summary>
    public byte* Keys(int layer, int row) => _keys[layer].Pointer + row * RowBytes;

    /// <summary>Where a row of a layer's values begins.</summary>
    public byte* Values(int layer, int row) => _values[layer].Pointer + row * RowBytes;

    /// <summary>Copies the first positions of one row to another.</summary>
    public void CopyRow(int from, int to, int length)
    {
        if (length == 0 || from == to) return;
        for (var layer = 0; layer < LayerCount; layer++)
        {
            CopyHeads(Keys(layer, from), Keys(layer, to), length);
            CopyHeads(Values(layer, from), Values(layer, to), length);
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        for (var layer = 0; layer < LayerCount; layer++)
        {
            _keys[layer].Dispose();
            _values[layer].Dispose();
        }
    }

    private static long WholeBlocks(int positions) => ((long)positions + AttentionKernel.Block - 1) / AttentionKernel.Block * AttentionKernel.Block;

    private static int ElementSizeOf(Precision precision) => precision is Precision.Fp16 or Precision.Bf16 ? sizeof(ushort) : sizeof(float);

    private void CopyHeads(byte* from, byte* to, int length)
    {
        long used = WholeBlocks(length) * HeadSize * ElementSize, stride = (long)Positions * HeadSize * ElementSize;
        for (var head = 0; head < Heads; head++) Buffer.MemoryCopy(from + head * stride, to + head * stride, used, used);
    }
}

using Sapo.Core.Models;

namespace Sapo.Rollout.Decoding;

/// <summary>
/// The keys and values of all rows: per layer and side one native buffer [rows, key-value heads, positions, head size] of
/// 32-bit floats, bound as past and as present at once, so a step writes its token in place. Shared by successive policy
/// versions; the scheduler sees to it that a row is read by the version that wrote it.
/// </summary>
internal sealed unsafe class KeyValueCache : IDisposable
{
    private readonly NativeBuffer<float>[] _keys, _values;

    /// <summary>Reserves the memory; pages are committed when first written.</summary>
    public KeyValueCache(ModelConfig config, int rows, int positions)
    {
        (Rows, Positions) = (rows, positions);
        (LayerCount, Heads, HeadSize) = (config.LayerCount, config.KeyValueHeadCount, config.CacheHeadSize);
        var length = rows * RowLength;
        _keys = new NativeBuffer<float>[LayerCount];
        _values = new NativeBuffer<float>[LayerCount];
        for (var layer = 0; layer < LayerCount; layer++)
            (_keys[layer], _values[layer]) = (new(length, clear: false), new(length, clear: false));
    }

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>Positions each row has room for.</summary>
    public int Positions { get; }

    /// <summary>Number of layers.</summary>
    public int LayerCount { get; }

    /// <summary>Key-value heads.</summary>
    public int Heads { get; }

    /// <summary>Width of a head.</summary>
    public int HeadSize { get; }

    /// <summary>Elements of one row in one buffer.</summary>
    public long RowLength => (long)Heads * Positions * HeadSize;

    /// <summary>Size of all buffers in bytes.</summary>
    public long Bytes => Rows * BytesPerRow(LayerCount, Heads, HeadSize, Positions);

    /// <summary>What one row takes: keys and values of every layer and position, 4 bytes per element.</summary>
    public static long BytesPerRow(ModelConfig config, int positions) => BytesPerRow(config.LayerCount, config.KeyValueHeadCount, config.CacheHeadSize, positions);

    /// <summary>First element of a row of a layer's keys.</summary>
    public float* Keys(int layer, int row) => _keys[layer].Pointer + row * RowLength;

    /// <summary>First element of a row of a layer's values.</summary>
    public float* Values(int layer, int row) => _values[layer].Pointer + row * RowLength;

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

    private static long BytesPerRow(int layers, int heads, int headSize, int positions) => checked((long)layers * 2 * heads * headSize * positions * sizeof(float));

    private void CopyHeads(float* from, float* to, int length)
    {
        long used = (long)length * HeadSize * sizeof(float), stride = (long)Positions * HeadSize;
        for (var head = 0; head < Heads; head++) Buffer.MemoryCopy(from + head * stride, to + head * stride, used, used);
    }
}

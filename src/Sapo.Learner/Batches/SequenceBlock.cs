// Attention works on rectangles, everything else on tokens without padding. A block is the rectangle of some of a
// micro-batch's tokens: groups x rows x width slots, where a row is a causal sequence and the rows of one group may share
// a prefix, which is a row of another block.
//
//   prompts      [groups, 1, P]      causal among themselves
//   completions  [groups, G, T]      causal in each row; every row of group j also sees all of prompt j
//
// Its tokens lie one after another in the micro-batch, row by row; slots beyond a row's end are filled with any token
// on the way in and dropped on the way out.
//
// The scores of a row's own tokens are worked on in tiles of consecutive queries, each with the keys that some query of the
// tile sees: what lies above the diagonal or outside the sliding window is never computed but within a tile.
using static TorchSharp.torch;

namespace Sapo.Learner.Batches;

/// <summary>Consecutive queries of every row of a block, and the row's own keys that they see.</summary>
/// <param name="First">The first query's slot within its row.</param>
/// <param name="Count">Number of queries.</param>
/// <param name="FirstKey">Slot of the first key; the last key is the last query's own.</param>
internal readonly record struct ScoreTile(int First, int Count, int FirstKey)
{
    /// <summary>Number of keys.</summary>
    public int KeyCount => First + Count - FirstKey;

    /// <summary>The tiles of a row, in order, of like size.</summary>
    /// <param name="width">The row's slots.</param>
    /// <param name="tileRows">Queries of a tile, about.</param>
    /// <param name="window">The layer's sliding window, or null.</param>
    public static IEnumerable<ScoreTile> Of(int width, int tileRows, int? window)
    {
        var count = Math.Max(1, (width + tileRows / 2) / tileRows);
        for (var tile = 0; tile < count; tile++)
        {
            var (first, end) = ((int)((long)tile * width / count), (int)((tile + 1L) * width / count));
            yield return new ScoreTile(first, end - first, window is { } seen ? Math.Max(0, first - seen + 1) : 0);
        }
    }

    /// <summary>Score elements per head of a row's tiles.</summary>
    /// <param name="width">The row's slots.</param>
    /// <param name="prefixWidth">Further keys that every query sees.</param>
    /// <param name="window">The layer's sliding window, or null.</param>
    /// <param name="tileRows">Queries of a tile, about.</param>
    public static long Elements(int width, int prefixWidth, int? window, int tileRows = SequenceBlock.DefaultTileRows) =>
        Of(width, tileRows, window).Sum(tile => (long)tile.Count * (tile.KeyCount + prefixWidth));
}

/// <summary>The tokens of a micro-batch that attend to each other in one rectangle.</summary>
internal sealed class SequenceBlock : IDisposable
{
    /// <summary>Queries of a tile, about: fewer would make products too small to be fast, more would compute more above the diagonal.</summary>
    public const int DefaultTileRows = 64;

    private readonly int[] _lengths;
    private readonly int _tileRows;
    private readonly Device _device;
    private readonly Dictionary<(int Lead, int Count, int Repeats, int? Window), Tensor> _ownMasks = [];
    private readonly Dictionary<int, Tensor?> _prefixMasks = [];
    private readonly Tensor? _tokenOfSlot, _slotOfToken, _filled;

    /// <summary>Lays out rows.</summary>
    /// <param name="firstToken">Where the block's tokens begin in the micro-batch.</param>
    /// <param name="rowsPerGroup">Rows that share a prefix.</param>
    /// <param name="lengths">Tokens of each row; a multiple of <paramref name="rowsPerGroup"/> rows, at least one of them not empty.</param>
    /// <param name="prefix">The block whose row j all rows of group j see entirely, or null.</param>
    /// <param name="device">Where the model computes.</param>
    /// <param name="tileRows">Queries of a tile, about, at least 1.</param>
    public SequenceBlock(int firstToken, int rowsPerGroup, int[] lengths, SequenceBlock? prefix, Device device, int tileRows = DefaultTileRows)
    {
        (FirstToken, RowsPerGroup, _lengths, Prefix, _device, _tileRows) = (firstToken, rowsPerGroup, lengths, prefix, device, tileRows);
        (Groups, Width, TokenCount) = (lengths.Length / rowsPerGroup, lengths.Max(), lengths.Sum());
        if (TokenCount == SlotCount) return;
        using var scope = NewDisposeScope();
        var (tokenOfSlot, slotOfToken, filled) = (new long[SlotCount], new long[TokenCount], new float[SlotCount]);
        for (int row = 0, token = 0; row < lengths.Length; row++)
            for (var position = 0; position < lengths[row]; position++, token++)
            {
                var slot = row * Width + position;
                (tokenOfSlot[slot], slotOfToken[token], filled[slot]) = (token, slot, 1);
            }
        _tokenOfSlot = tensor(tokenOfSlot, device: device).DetachFromDisposeScope();
        _slotOfToken = tensor(slotOfToken, device: device).DetachFromDisposeScope();
        _filled = tensor(filled, device: device).DetachFromDisposeScope();
    }

    /// <summary>First token, in the micro-batch.</summary>
    public int FirstToken { get; }

    /// <summary>Number of tokens.</summary>
    public int TokenCount { get; }

    /// <summary>Number of groups.</summary>
    public int Groups { get; }

    /// <summary>Rows per group.</summary>
    public int RowsPerGroup { get; }

    /// <summary>Slots per row: the longest row.</summary>
    public int Width { get; }

    /// <summary>The block whose rows the groups share as a prefix, or null.</summary>
    public SequenceBlock? Prefix { get; }

    /// <summary>Slots, padding included.</summary>
    public int SlotCount => Groups * RowsPerGroup * Width;

    /// <summary>Score elements per head of the whole rectangle, those above the diagonal included: what padding is measured by.</summary>
    public long ScoreElements => (long)SlotCount * (Width + (Prefix?.Width ?? 0));

    /// <summary>Score elements per head that attention computes and may keep.</summary>
    /// <param name="window">The layer's sliding window, or null.</param>
    public long TileElements(int? window) => Groups * RowsPerGroup * ScoreTile.Elements(Width, Prefix?.Width ?? 0, window, _tileRows);

    /// <summary>The tiles of every row, in order, of like size.</summary>
    /// <param name="window">The layer's sliding window, or null.</param>
    public IEnumerable<ScoreTile> Tiles(int? window) => ScoreTile.Of(Width, _tileRows, window);

    /// <summary>This block's tokens [TokenCount, ...] spread over its slots [SlotCount, ...]; padding holds copies of a token.</summary>
    public Tensor ToSlots(Tensor tokens) => _tokenOfSlot is null ? tokens.alias() : tokens.index_select(0, _tokenOfSlot);

    /// <summary>As <see cref="ToSlots"/> for a gradient [TokenCount, columns]: padding holds zeros.</summary>
    public Tensor GradientToSlots(Tensor tokens)
    {
        if (_tokenOfSlot is null) return tokens.alias();
        using var scope = NewDisposeScope();
        return tokens.index_select(0, _tokenOfSlot).mul_(_filled!.unsqueeze(1)).MoveToOuterDisposeScope();
    }

    /// <summary>Back from slots to tokens; padding is dropped.</summary>
    public Tensor FromSlots(Tensor slots) => _slotOfToken is null ? slots.alias() : slots.index_select(0, _slotOfToken);

    /// <summary>
    /// [1, queries * repeats, columns]: added to the last columns of a tile's scores against the row's own keys; 0 where a token is
    /// seen, minus infinity elsewhere. Without a window, columns before the tile need no mask and there are as many as queries.
    /// Owned by the block.
    /// </summary>
    /// <param name="tile">The tile.</param>
    /// <param name="repeats">Query heads per key head: every query's row of the mask is repeated that often.</param>
    /// <param name="window">The layer's sliding window, or null.</param>
    /// <param name="precision">Precision of the scores.</param>
    public Tensor OwnMask(ScoreTile tile, int repeats, int? window, ScalarType precision)
    {
        var effective = window < Width ? window : null;
        var lead = effective is null ? 0 : tile.First - tile.FirstKey; // keys before the first query
        if (_ownMasks.TryGetValue((lead, tile.Count, repeats, effective), out var known)) return known;
        using var scope = NewDisposeScope();
        var columns = lead + tile.Count;
        var mask = new float[tile.Count * repeats * columns];
        for (int query = 0, at = 0; query < tile.Count; query++)
            for (var repeat = 0; repeat < repeats; repeat++)
                for (var key = -lead; key < tile.Count; key++, at++)
                    if (key > query || query - key >= effective) mask[at] = float.NegativeInfinity;
        var made = tensor(mask, [1, tile.Count * repeats, columns], device: _device).to_type(precision).DetachFromDisposeScope();
        _ownMasks.Add((lead, tile.Count, repeats, effective), made);
        return made;
    }

    /// <summary>
    /// [Groups, 1, 1, Width or 1, 1, prefix width]: added to the scores against the prefix, or null when all of it is seen by all.
    /// Owned by the block.
    /// </summary>
    public Tensor? PrefixMask(int? window, ScalarType precision)
    {
        var effective = window < Prefix!.Width + Width ? window!.Value : int.MaxValue;
        if (_prefixMasks.TryGetValue(effective, out var known)) return known;
        var made = effective == int.MaxValue && Prefix.TokenCount == Prefix.SlotCount ? null : MakePrefixMask(effective, precision);
        _prefixMasks.Add(effective, made);
        return made;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var mask in _ownMasks.Values) mask.Dispose();
        foreach (var mask in _prefixMasks.Values) mask?.Dispose();
        _tokenOfSlot?.Dispose();
        _slotOfToken?.Dispose();
        _filled?.Dispose();
    }

    private Tensor MakePrefixMask(int window, ScalarType precision)
    {
        using var scope = NewDisposeScope();
        var (queries, keys) = (window == int.MaxValue ? 1 : Width, Prefix!.Width);
        var mask = new float[Groups * queries * keys];
        for (int group = 0, at = 0; group < Groups; group++)
            for (var query = 0; query < queries; query++)
                for (var key = 0; key < keys; key++, at++)
                    if (key >= Prefix._lengths[group] || Prefix._lengths[group] + query - key >= window) mask[at] = float.NegativeInfinity;
        return tensor(mask, [Groups, 1, 1, queries, 1, keys], device: _device).to_type(precision).DetachFromDisposeScope();
    }
}

// Groups -> one micro-batch. Every token that some log-prob depends on is there once, without padding:
//
//   group with two or more completions:  prompt once | completion 1 | completion 2 | ...   (prompt block + completion block)
//   group with one completion:           prompt and completion in one row                  (a row of a plain block)
//
// A completion's last token predicts nothing and is left out. The head reads, for every completion token in the order of
// groups and rows, the hidden state of the token before it: of the prompt's last token for a completion's first one.
// Groups of like size share blocks, so that attention pads little; see MergePlan.
using Sapo.Core;
using static TorchSharp.torch;

namespace Sapo.Learner.Batches;

/// <summary>One micro-batch as the model reads it. Owns its tensors.</summary>
internal sealed class PackedTokens : IDisposable
{
    private readonly List<long> _tokenIds = [];
    private readonly List<double> _positions = [];
    private readonly Device _device;
    private readonly int _tileRows;

    /// <summary>Packs groups.</summary>
    /// <param name="groups">At least one of them with a completion that has tokens.</param>
    /// <param name="device">Where the model computes.</param>
    /// <param name="sharePrompts">False: every completion gets a row of its own with its prompt in it. The values are the same.</param>
    /// <param name="tileRows">Queries of one tile of attention scores, about. The values are the same.</param>
    public PackedTokens(IReadOnlyList<TokenGroup> groups, Device device, bool sharePrompts = true, int tileRows = SequenceBlock.DefaultTileRows)
    {
        (_device, _tileRows) = (device, tileRows);
        Groups = groups;
        var predictors = new Dictionary<TokenRow, long[]>(ReferenceEqualityComparer.Instance);
        foreach (var plan in MergePlan.For(groups, sharePrompts))
            if (plan.Shares) AddShared(plan.Groups, predictors);
            else AddPlain(plan.Groups, predictors);
        var rows = groups.SelectMany(group => group.Rows.Select(row => (group, row))).Where(pair => pair.row.TokenIds.Length > 0).ToArray();
        Targets = [.. rows.SelectMany(pair => pair.row.TokenIds)];
        var end = 0;
        RowOffsets = [0, .. groups.SelectMany(group => group.Rows).Select(row => end += row.TokenIds.Length)];
        if (Targets.Length == 0) throw new ArgumentException("No completion has tokens.", nameof(groups));
        KeptTokenIds = rows.Any(pair => pair.row.KeptTokenIds is not null)
            ? [.. rows.SelectMany(pair => pair.row.KeptTokenIds ?? new int[pair.row.TokenIds.Length][])]
            : null;
        using var scope = NewDisposeScope();
        TokenIds = tensor(_tokenIds.ToArray(), device: device).DetachFromDisposeScope();
        Positions = tensor(_positions.ToArray(), device: device).DetachFromDisposeScope();
        Predictors = tensor(rows.SelectMany(pair => predictors[pair.row]).ToArray(), device: device).DetachFromDisposeScope();
        TargetIds = tensor(Array.ConvertAll(Targets, id => (long)id), device: device).DetachFromDisposeScope();
        InverseTemperatures = tensor(rows.SelectMany(pair => Enumerable.Repeat(1 / pair.group.Temperature, pair.row.TokenIds.Length)).ToArray(), device: device).DetachFromDisposeScope();
    }

    /// <summary>What was packed.</summary>
    public IReadOnlyList<TokenGroup> Groups { get; }

    /// <summary>The rectangles attention works on; a prefix comes before the blocks that see it. Together they cover all tokens in order.</summary>
    public List<SequenceBlock> Blocks { get; } = [];

    /// <summary>[N] Int64: the tokens computed.</summary>
    public Tensor TokenIds { get; }

    /// <summary>[N] Float64: their positions in their sequences.</summary>
    public Tensor Positions { get; }

    /// <summary>[M] Int64: for each completion token the computed token whose hidden state predicts it.</summary>
    public Tensor Predictors { get; }

    /// <summary>[M] Int64: the completion tokens.</summary>
    public Tensor TargetIds { get; }

    /// <summary>[M] Float64: 1 / temperature of each completion token.</summary>
    public Tensor InverseTemperatures { get; }

    /// <summary>[M] the completion tokens, group by group and row by row.</summary>
    public int[] Targets { get; }

    /// <summary>[rows + 1]: where each completion's tokens begin in <see cref="Targets"/>, those without tokens included, and M.</summary>
    public int[] RowOffsets { get; }

    /// <summary>[M] for each completion token the ids its distribution is renormalised over (null: all); null when that holds for all.</summary>
    public int[]?[]? KeptTokenIds { get; }

    /// <summary>N: tokens computed.</summary>
    public int TokenCount => _tokenIds.Count;

    /// <summary>Score elements per head of all rectangles, padding included.</summary>
    public long ScoreElements => Blocks.Sum(block => block.ScoreElements);

    /// <summary>Score elements per head that attention computes in a layer.</summary>
    /// <param name="window">The layer's sliding window, or null.</param>
    public long TileElements(int? window) => Blocks.Sum(block => block.TileElements(window));

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var block in Blocks) block.Dispose();
        foreach (var held in new[] { TokenIds, Positions, Predictors, TargetIds, InverseTemperatures }) held.Dispose();
    }

    /// <summary>One row per completion, its prompt in front.</summary>
    private void AddPlain(IReadOnlyList<TokenGroup> groups, Dictionary<TokenRow, long[]> predictors)
    {
        var lengths = new List<int>();
        var first = _tokenIds.Count;
        foreach (var group in groups)
            foreach (var row in group.Rows.Where(row => row.TokenIds.Length > 0))
            {
                var last = _tokenIds.Count + group.Prompt.Length - 1;
                Add(group.Prompt, 0);
                Add(row.TokenIds.AsSpan(..^1), group.Prompt.Length);
                predictors.Add(row, Consecutive(last, row.TokenIds.Length));
                lengths.Add(group.Prompt.Length + row.TokenIds.Length - 1);
            }
        Blocks.Add(new SequenceBlock(first, 1, [.. lengths], null, _device, _tileRows));
    }

    /// <summary>A block of prompts and, where any completion has a second token, one of completions.</summary>
    private void AddShared(IReadOnlyList<TokenGroup> groups, Dictionary<TokenRow, long[]> predictors)
    {
        var lastOfPrompt = new int[groups.Count];
        var first = _tokenIds.Count;
        for (var group = 0; group < groups.Count; group++)
        {
            Add(groups[group].Prompt, 0);
            lastOfPrompt[group] = _tokenIds.Count - 1;
        }
        var prompts = new SequenceBlock(first, 1, [.. groups.Select(group => group.Prompt.Length)], null, _device, _tileRows);
        Blocks.Add(prompts);

        first = _tokenIds.Count;
        var rowsPerGroup = groups.Max(group => MergePlan.RowsWithTokens(group).Count());
        var lengths = new int[groups.Count * rowsPerGroup]; // groups with fewer rows are filled up with empty ones
        for (var group = 0; group < groups.Count; group++)
            foreach (var (row, index) in MergePlan.RowsWithTokens(groups[group]).Select((row, index) => (row, index)))
            {
                predictors.Add(row, [lastOfPrompt[group], .. Consecutive(_tokenIds.Count, row.TokenIds.Length - 1)]);
                Add(row.TokenIds.AsSpan(..^1), groups[group].Prompt.Length);
                lengths[group * rowsPerGroup + index] = row.TokenIds.Length - 1;
            }
        if (_tokenIds.Count > first) Blocks.Add(new SequenceBlock(first, rowsPerGroup, lengths, prompts, _device, _tileRows));
    }

    private void Add(ReadOnlySpan<int> ids, int position)
    {
        foreach (var id in ids)
        {
            _tokenIds.Add(id);
            _positions.Add(position++);
        }
    }

    private static long[] Consecutive(int first, int count) => [.. Enumerable.Range(first, count).Select(token => (long)token)];
}

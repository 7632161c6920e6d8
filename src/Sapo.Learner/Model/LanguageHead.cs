// Hidden states -> log-prob of a given token and entropy, per token, without ever holding [tokens, vocabulary]:
//
//   batch -> spans of whole completions, whose distributions fit a memory budget
//
// In training a span goes forward, the loss turns its log-probs into slopes, and it goes backward from the distributions that
// were kept: nothing is computed twice. A completion that exceeds the budget is worked on in chunks. Then, and where a loss must
// see more than a span at once, the distributions beyond the budget are computed again.
//
//   x = logits / temperature        q = log softmax x          p = exp q
//   log-prob l = q[token]           entropy H = -sum p q
//   dl/dx = onehot(token) - p       dH/dx = -p (q + H)
//
// Where a rollout truncated its distribution, ids outside the kept set get a penalty so low that their p is exactly 0.
using Sapo.Learner.Batches;
using Sapo.Learner.Compute;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>Per token: log-prob and entropy, in double precision on the host.</summary>
/// <param name="LogProbs">[M] natural log of the token's probability.</param>
/// <param name="Entropies">[M] entropy of its distribution, in nats.</param>
internal sealed record HeadResult(double[] LogProbs, double[] Entropies)
{
    /// <summary>Room for so many tokens.</summary>
    public static HeadResult Of(int tokens) => new(new double[tokens], new double[tokens]);
}

/// <summary>Values of completions that follow each other in a batch.</summary>
/// <param name="FirstRow">The first completion.</param>
/// <param name="RowCount">Number of completions.</param>
/// <param name="FirstToken">Completion tokens before them.</param>
/// <param name="Values">Their tokens' values.</param>
internal sealed record HeadSpan(int FirstRow, int RowCount, int FirstToken, HeadResult Values);

/// <summary>The gradient of a loss with respect to the values of some tokens.</summary>
/// <param name="LogProbs">[n] dL/dl.</param>
/// <param name="Entropies">[n] dL/dH, or null for zeros.</param>
internal sealed record HeadSlopes(double[] LogProbs, double[]? Entropies = null);

/// <summary>The output projection and everything behind it.</summary>
internal sealed class LanguageHead
{
    /// <summary>Default for the bytes of the logits of one chunk of a completion that is longer than a span.</summary>
    public const long DefaultChunkBytes = 64L << 20;

    /// <summary>
    /// Bytes of log-probabilities of a span, which are kept for its backward pass. With a chunk at work the head needs at most
    /// 256 MiB beside its input and its input's gradient, whatever vocabulary and batch.
    /// </summary>
    public const long KeptBytes = SpanChunks * DefaultChunkBytes;

    private const int SpanChunks = 3;

    private const double Excluded = -1e30; // finite, so that 0 * x is 0 in the entropy; exp(-1e30) is 0 in every precision

    private readonly Parameter _weight;
    private readonly long _rowsPerChunk;

    /// <summary>Binds the projection.</summary>
    /// <param name="weight">[vocabulary, hidden]: the LM head, or the embedding where they are tied.</param>
    /// <param name="chunkBytes">Bytes of logits held at once, for one chunk.</param>
    public LanguageHead(Parameter weight, long chunkBytes)
    {
        _weight = weight;
        var rowBytes = weight.Value.shape[0] * weight.Value.ElementSize;
        _rowsPerChunk = Math.Max(1, chunkBytes / rowBytes);
    }

    /// <summary>Log-probs and entropies of a batch's target tokens.</summary>
    /// <param name="hidden">[M, hidden]: normalized, divided by temperature.</param>
    /// <param name="batch">The targets.</param>
    public HeadResult Forward(Tensor hidden, PackedTokens batch)
    {
        var values = HeadResult.Of(batch.Targets.Length);
        foreach (var span in Spans(batch)) ForwardSpan(hidden, batch, span, values, 0);
        return values;
    }

    /// <summary>Adds to the projection's gradient and returns that of the hidden states [M, hidden]; the caller disposes it.</summary>
    /// <param name="hidden">As in <see cref="Forward"/>.</param>
    /// <param name="batch">The targets.</param>
    /// <param name="loss">Called with the values of some completions after the other, in their order.</param>
    /// <param name="atOnce">Whether the loss must see all completions in one call.</param>
    public Tensor Train(Tensor hidden, PackedTokens batch, Func<HeadSpan, HeadSlopes> loss, bool atOnce)
    {
        using var scope = NewDisposeScope();
        var hiddenGradient = hidden.empty_like();
        foreach (var span in atOnce ? [new RowSpan(0, batch.RowOffsets.Length - 1)] : Spans(batch))
        {
            using var spanScope = NewDisposeScope();
            var (start, end) = (batch.RowOffsets[span.First], batch.RowOffsets[span.First + span.Count]);
            var values = HeadResult.Of(end - start);
            var kept = new List<Tensor>();
            ForwardSpan(hidden, batch, span, values, start, kept);
            BackwardSpan(hidden, batch, span, loss(new HeadSpan(span.First, span.Count, start, values)), kept, hiddenGradient);
        }
        return hiddenGradient.MoveToOuterDisposeScope();
    }

    /// <summary>As <see cref="Train"/>, for slopes that are known beforehand: no values are computed.</summary>
    public Tensor Backward(Tensor hidden, PackedTokens batch, HeadSlopes slopes)
    {
        using var scope = NewDisposeScope();
        var hiddenGradient = hidden.empty_like();
        BackwardSpan(hidden, batch, new RowSpan(0, batch.RowOffsets.Length - 1), slopes, [], hiddenGradient);
        return hiddenGradient.MoveToOuterDisposeScope();
    }

    private void ForwardSpan(Tensor hidden, PackedTokens batch, RowSpan span, HeadResult values, long firstOfValues, List<Tensor>? kept = null)
    {
        var chunks = ChunksOf(batch, span).ToArray();
        long keptRows = 0;
        for (var index = 0; index < chunks.Length; index++)
        {
            using var chunkScope = NewDisposeScope();
            var logDistributions = LogDistributions(hidden, batch, chunks[index]);
            Write(values, firstOfValues, logDistributions, batch, chunks[index]);
            keptRows += chunks[index].Count;
            var largestLater = chunks.Skip(index + 1).Select(later => later.Count).DefaultIfEmpty().Max();
            if (keptRows + largestLater <= (SpanChunks + 1) * _rowsPerChunk) kept?.Add(logDistributions.MoveToOuterDisposeScope());
        }
    }

    private void BackwardSpan(Tensor hidden, PackedTokens batch, RowSpan span, HeadSlopes slopes, List<Tensor> kept, Tensor hiddenGradient)
    {
        using var scope = NewDisposeScope();
        var start = batch.RowOffsets[span.First];
        var (toLogProbs, toEntropies) = (Column(slopes.LogProbs, hidden), slopes.Entropies is null ? null : Column(slopes.Entropies, hidden));
        foreach (var (chunk, index) in ChunksOf(batch, span).Select((chunk, index) => (chunk, index)))
        {
            using var chunkScope = NewDisposeScope();
            var logDistributions = index < kept.Count ? kept[index] : LogDistributions(hidden, batch, chunk);
            var (first, count) = chunk;
            var gradient = ToGradient(logDistributions, Targets(batch, chunk), toLogProbs.narrow(0, first - start, count), toEntropies?.narrow(0, first - start, count));
            if (_weight.Gradient is { } sum) Products.AddTo(sum, gradient.t(), hidden.narrow(0, first, count));
            hiddenGradient.narrow(0, first, count).copy_(Products.Of(gradient, _weight.Value));
            logDistributions.Dispose();
        }
    }

    /// <summary>
    /// [count, vocabulary]: the logarithm of whole distributions, for one chunk of a batch's targets; ids that truncation excluded
    /// have -1e30. Facts about distributions are made of these, chunk by chunk.
    /// </summary>
    /// <param name="hidden">As in <see cref="Forward"/>.</param>
    /// <param name="batch">The targets.</param>
    /// <param name="chunk">One of <see cref="Chunks"/>.</param>
    /// <param name="weight">Another projection than this head's own, such as an older one; null: its own.</param>
    public Tensor LogDistributions(Tensor hidden, PackedTokens batch, (long First, long Count) chunk, Tensor? weight = null)
    {
        using var scope = NewDisposeScope();
        var logits = Logits(hidden.narrow(0, chunk.First, chunk.Count), batch, chunk.First, weight ?? _weight.Value);
        ComputeThreads.Shared.ForBlocks(logits, (first, count, _) =>
        {
            var rows = logits.narrow(0, first, count);
            rows.copy_(rows.log_softmax(1));
        });
        return logits.MoveToOuterDisposeScope();
    }

    /// <summary>A copy of the projection [vocabulary, hidden] as it is now; the caller disposes it.</summary>
    public Tensor CopyWeight() => _weight.Value.clone();

    /// <summary>[M, vocabulary]: all logits at once, for tests and probes of small batches.</summary>
    public Tensor AllLogits(Tensor hidden)
    {
        using var scope = NewDisposeScope();
        return Products.Of(hidden, _weight.Value.t()).MoveToOuterDisposeScope();
    }

    /// <summary>[n, 1]: -sum p q; <paramref name="probabilities"/> is overwritten.</summary>
    private static Tensor Entropies(Tensor logDistributions, Tensor probabilities)
    {
        using var scope = NewDisposeScope();
        return probabilities.mul_(logDistributions).sum(1, keepdim: true).neg_().MoveToOuterDisposeScope();
    }

    /// <summary>dL/dlogits [n, vocabulary], in the memory of the log-distributions.</summary>
    /// <param name="logDistributions">[n, vocabulary]: q.</param>
    /// <param name="targets">[n, 1].</param>
    /// <param name="toLogProbs">[n, 1]: dL/dl.</param>
    /// <param name="toEntropies">[n, 1]: dL/dH, or null for zeros.</param>
    private static Tensor ToGradient(Tensor logDistributions, Tensor targets, Tensor toLogProbs, Tensor? toEntropies)
    {
        ComputeThreads.Shared.ForBlocks(logDistributions, (first, count, _) =>
        {
            var (rows, slope) = (logDistributions.narrow(0, first, count), toLogProbs.narrow(0, first, count));
            if (toEntropies is null) rows.exp_().mul_(-slope);
            else rows.copy_(MixedGradient(rows, slope, toEntropies.narrow(0, first, count)));
            rows.scatter_add_(1, targets.narrow(0, first, count), slope);
        });
        return logDistributions;
    }

    /// <summary>[n, vocabulary]: -p (dL/dl + dL/dH (q + H)), in which the target's own dL/dl is still missing; <paramref name="logDistributions"/> is overwritten.</summary>
    private static Tensor MixedGradient(Tensor logDistributions, Tensor toLogProbs, Tensor toEntropies)
    {
        var probabilities = logDistributions.exp();
        var entropies = Entropies(logDistributions, probabilities.clone());
        return probabilities.mul_(logDistributions.add_(entropies).mul_(toEntropies).add_(toLogProbs).neg_());
    }

    /// <summary>Writes a chunk's values; those of token <paramref name="firstOfValues"/> come first.</summary>
    private static void Write(HeadResult values, long firstOfValues, Tensor logDistributions, PackedTokens batch, (long First, long Count) chunk) =>
        ComputeThreads.Shared.ForBlocks(logDistributions, (first, count, _) =>
        {
            var rows = logDistributions.narrow(0, first, count);
            HostArrays.Double(rows.gather(1, Targets(batch, (chunk.First + first, count)))).CopyTo(values.LogProbs, chunk.First + first - firstOfValues);
            HostArrays.Double(Entropies(rows, rows.exp())).CopyTo(values.Entropies, chunk.First + first - firstOfValues);
        });

    private static Tensor Column(double[] slopes, Tensor like)
    {
        using var scope = NewDisposeScope();
        return tensor(slopes, device: like.device).to_type(like.dtype).unsqueeze(1).MoveToOuterDisposeScope();
    }

    private static Tensor Logits(Tensor hidden, PackedTokens batch, long first, Tensor weight)
    {
        using var scope = NewDisposeScope();
        var logits = Products.Of(hidden, weight.t());
        if (batch.KeptTokenIds is { } kept) Exclude(logits, kept, first);
        return logits.MoveToOuterDisposeScope();
    }

    private static void Exclude(Tensor logits, int[]?[] kept, long first)
    {
        using var scope = NewDisposeScope();
        var (rows, vocabulary) = (logits.shape[0], logits.shape[1]);
        var allowed = new List<long>();
        for (long row = 0; row < rows; row++)
        {
            if (kept[first + row] is { } ids) allowed.AddRange(ids.Select(id => row * vocabulary + id));
            else for (long id = 0; id < vocabulary; id++) allowed.Add(row * vocabulary + id);
        }
        var penalty = full([rows * vocabulary], Excluded, logits.dtype, logits.device);
        logits.add_(penalty.index_fill_(0, tensor(allowed.ToArray(), device: logits.device), 0).view(rows, vocabulary));
    }

    private static Tensor Targets(PackedTokens batch, (long First, long Count) chunk)
    {
        using var scope = NewDisposeScope();
        return batch.TargetIds.narrow(0, chunk.First, chunk.Count).unsqueeze(1).MoveToOuterDisposeScope();
    }

    /// <summary>A batch's targets in chunks for facts about distributions: first target and number of targets.</summary>
    public IEnumerable<(long First, long Count)> Chunks(PackedTokens batch) => Parts(0, batch.Targets.Length, _rowsPerChunk);

    /// <summary>
    /// What a run of completions is worked on in: its spans, those that are too long in chunks. They follow from the completions'
    /// lengths alone, so that the same completions round in the same way in every pass.
    /// </summary>
    private IEnumerable<(long First, long Count)> ChunksOf(PackedTokens batch, RowSpan rows) => Spans(batch, rows).SelectMany(span =>
    {
        long start = batch.RowOffsets[span.First], length = batch.RowOffsets[span.First + span.Count] - start;
        return Parts(start, length, length <= SpanChunks * _rowsPerChunk ? length : _rowsPerChunk);
    });

    /// <summary>Parts of like size, none longer than <paramref name="most"/>.</summary>
    private static IEnumerable<(long First, long Count)> Parts(long start, long length, long most)
    {
        var parts = length == 0 ? 0 : (length + most - 1) / most;
        for (long part = 0; part < parts; part++) yield return (start + part * length / parts, (part + 1) * length / parts - part * length / parts);
    }

    private IEnumerable<RowSpan> Spans(PackedTokens batch) => Spans(batch, new RowSpan(0, batch.RowOffsets.Length - 1));

    /// <summary>Completions after each other whose distributions can be kept together; one that cannot is a span of its own.</summary>
    private IEnumerable<RowSpan> Spans(PackedTokens batch, RowSpan rows)
    {
        var (first, offsets) = (rows.First, batch.RowOffsets);
        for (var row = rows.First + 1; row < rows.First + rows.Count; row++)
            if (offsets[row + 1] - offsets[first] > SpanChunks * _rowsPerChunk)
            {
                yield return new RowSpan(first, row - first);
                first = row;
            }
        yield return new RowSpan(first, rows.First + rows.Count - first);
    }

    /// <summary>Completions of a batch that follow each other.</summary>
    private readonly record struct RowSpan(int First, int Count);
}

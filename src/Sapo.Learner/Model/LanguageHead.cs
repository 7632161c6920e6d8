// Hidden states -> log-prob of a given token and entropy, per token, without ever holding [tokens, vocabulary]: the tokens are
// cut into chunks whose logits fit a memory budget. The first chunks' distributions are kept for the backward pass as far as a
// second budget goes; those of the others are computed again.
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
internal sealed record HeadResult(double[] LogProbs, double[] Entropies);

/// <summary>The output projection and everything behind it.</summary>
internal sealed class LanguageHead
{
    /// <summary>Default for the bytes of one chunk's logits. Products of fewer rows would not be faster, more memory would not help.</summary>
    public const long DefaultChunkBytes = 64L << 20;

    /// <summary>
    /// Bytes of log-probabilities that a pass may keep for its backward pass. With the chunk at work the head then needs at most
    /// 256 MiB beside its input and its input's gradient, whatever vocabulary and batch.
    /// </summary>
    public const long KeptBytes = 192L << 20;

    private const double Excluded = -1e30; // finite, so that 0 * x is 0 in the entropy; exp(-1e30) is 0 in every precision

    private readonly Parameter _weight;
    private readonly long _rowsPerChunk;

    /// <summary>Binds the projection.</summary>
    /// <param name="weight">[vocabulary, hidden]: the LM head, or the embedding where they are tied.</param>
    /// <param name="chunkBytes">Bytes of logits held at once, for one chunk.</param>
    public LanguageHead(Parameter weight, long chunkBytes)
    {
        _weight = weight;
        _rowsPerChunk = Math.Max(1, chunkBytes / (weight.Value.shape[0] * weight.Value.ElementSize));
    }

    /// <summary>Log-probs and entropies of a batch's target tokens.</summary>
    /// <param name="hidden">[M, hidden]: normalized, divided by temperature.</param>
    /// <param name="batch">The targets.</param>
    /// <param name="kept">Takes the first chunks' log-distributions for <see cref="Backward"/>; the caller disposes them. Null: nothing is kept.</param>
    public HeadResult Forward(Tensor hidden, PackedTokens batch, ICollection<Tensor>? kept = null)
    {
        using var scope = NewDisposeScope();
        var values = new HeadResult(new double[hidden.shape[0]], new double[hidden.shape[0]]);
        long keptBytes = 0;
        foreach (var chunk in Chunks(hidden))
        {
            using var chunkScope = NewDisposeScope();
            var logDistributions = LogDistributions(hidden, batch, chunk);
            Write(values, logDistributions, batch, chunk);
            keptBytes += logDistributions.numel() * logDistributions.ElementSize;
            if (kept is not null && keptBytes <= KeptBytes) kept.Add(logDistributions.DetachFromDisposeScope());
        }
        return values;
    }

    /// <summary>
    /// Adds to the projection's gradient and returns that of the hidden states; when <paramref name="values"/> is given, also
    /// writes what <see cref="Forward"/> would return, so that a loss whose gradient does not depend on them needs one pass.
    /// </summary>
    /// <param name="hidden">As in <see cref="Forward"/>.</param>
    /// <param name="batch">The targets.</param>
    /// <param name="logProbGradient">[M] dL/dl.</param>
    /// <param name="entropyGradient">[M] dL/dH, or null for zeros.</param>
    /// <param name="values">Filled with log-probs and entropies, or null.</param>
    /// <param name="kept">What <see cref="Forward"/> kept; used up.</param>
    public Tensor Backward(
        Tensor hidden, PackedTokens batch, double[] logProbGradient, double[]? entropyGradient, HeadResult? values = null, IReadOnlyList<Tensor>? kept = null)
    {
        using var scope = NewDisposeScope();
        var hiddenGradient = hidden.empty_like();
        var toLogProbs = tensor(logProbGradient, device: hidden.device).to_type(hidden.dtype).unsqueeze(1);
        var toEntropies = entropyGradient is null ? null : tensor(entropyGradient, device: hidden.device).to_type(hidden.dtype).unsqueeze(1);
        foreach (var (chunk, index) in Chunks(hidden).Select((chunk, index) => (chunk, index)))
        {
            using var chunkScope = NewDisposeScope();
            var logDistributions = index < kept?.Count ? kept[index] : LogDistributions(hidden, batch, chunk);
            if (values is not null) Write(values, logDistributions, batch, chunk);
            var gradient = ToGradient(logDistributions, Targets(batch, chunk), toLogProbs.narrow(0, chunk.First, chunk.Count), toEntropies?.narrow(0, chunk.First, chunk.Count));
            if (_weight.Gradient is { } sum) Products.AddTo(sum, gradient.t(), hidden.narrow(0, chunk.First, chunk.Count));
            hiddenGradient.narrow(0, chunk.First, chunk.Count).copy_(Products.Of(gradient, _weight.Value));
            logDistributions.Dispose();
        }
        return hiddenGradient.MoveToOuterDisposeScope();
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

    private static void Write(HeadResult values, Tensor logDistributions, PackedTokens batch, (long First, long Count) chunk) =>
        ComputeThreads.Shared.ForBlocks(logDistributions, (first, count, _) =>
        {
            var rows = logDistributions.narrow(0, first, count);
            HostArrays.Double(rows.gather(1, Targets(batch, (chunk.First + first, count)))).CopyTo(values.LogProbs, chunk.First + first);
            HostArrays.Double(Entropies(rows, rows.exp())).CopyTo(values.Entropies, chunk.First + first);
        });

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

    /// <summary>The chunks that some hidden states are worked on in: first row and number of rows.</summary>
    public IEnumerable<(long First, long Count)> Chunks(Tensor hidden)
    {
        for (long first = 0; first < hidden.shape[0]; first += _rowsPerChunk)
            yield return (first, Math.Min(_rowsPerChunk, hidden.shape[0] - first));
    }
}

// Hidden states -> log-prob of a given token and entropy, per token, without ever holding [tokens, vocabulary]: the tokens are
// cut into chunks whose logits fit a memory budget; the backward pass computes each chunk's logits again.
//
//   x = logits / temperature        lse = log sum exp x        p = exp(x - lse)
//   log-prob l = x[token] - lse     entropy H = lse - sum p x
//   dl/dx = onehot(token) - p       dH/dx = -p (x - lse + H)
//
// Where a rollout truncated its distribution, ids outside the kept set get a penalty so low that their p is exactly 0.
using Sapo.Learner.Batches;
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
    public HeadResult Forward(Tensor hidden, PackedTokens batch)
    {
        using var scope = NewDisposeScope();
        var (logProbs, entropies) = (hidden.new_empty([hidden.shape[0]]), hidden.new_empty([hidden.shape[0]]));
        foreach (var (first, count) in Chunks(hidden))
        {
            using var chunkScope = NewDisposeScope();
            var logits = Logits(hidden.narrow(0, first, count), batch, first, _weight.Value);
            var (logSum, probabilities, entropy) = Distribution(logits);
            logProbs.narrow(0, first, count).copy_(logits.gather(1, Targets(batch, first, count)).squeeze(1)).sub_(logSum.squeeze(1));
            entropies.narrow(0, first, count).copy_(entropy.squeeze(1));
        }
        return new HeadResult(HostArrays.Double(logProbs), HostArrays.Double(entropies));
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
    public Tensor Backward(Tensor hidden, PackedTokens batch, double[] logProbGradient, double[]? entropyGradient, HeadResult? values = null)
    {
        using var scope = NewDisposeScope();
        var hiddenGradient = hidden.empty_like();
        var toLogProbs = tensor(logProbGradient, device: hidden.device).to_type(hidden.dtype).unsqueeze(1);
        var toEntropies = entropyGradient is null ? null : tensor(entropyGradient, device: hidden.device).to_type(hidden.dtype).unsqueeze(1);
        foreach (var (first, count) in Chunks(hidden))
        {
            using var chunkScope = NewDisposeScope();
            var chunk = hidden.narrow(0, first, count);
            var logits = Logits(chunk, batch, first, _weight.Value);
            var targets = Targets(batch, first, count);
            var (logSum, probabilities, entropy) = Distribution(logits);
            if (values is not null) Write(values, first, logits.gather(1, targets).sub_(logSum), entropy);
            var slope = toLogProbs.narrow(0, first, count);
            var gradient = toEntropies is null
                ? probabilities.mul_(-slope)
                : probabilities.mul_(logits.sub_(logSum).add_(entropy).mul_(toEntropies.narrow(0, first, count)).add_(slope).neg_());
            gradient.scatter_add_(1, targets, slope);
            _weight.Gradient?.addmm_(gradient.t(), chunk);
            hiddenGradient.narrow(0, first, count).copy_(gradient.mm(_weight.Value));
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
        return logits.sub_(logits.logsumexp(1, keepdim: true)).MoveToOuterDisposeScope();
    }

    /// <summary>A copy of the projection [vocabulary, hidden] as it is now; the caller disposes it.</summary>
    public Tensor CopyWeight() => _weight.Value.clone();

    /// <summary>[M, vocabulary]: all logits at once, for tests and probes of small batches.</summary>
    public Tensor AllLogits(Tensor hidden)
    {
        using var scope = NewDisposeScope();
        return hidden.mm(_weight.Value.t()).MoveToOuterDisposeScope();
    }

    /// <summary>log sum exp [n, 1], probabilities [n, vocabulary], entropy [n, 1].</summary>
    private static (Tensor LogSum, Tensor Probabilities, Tensor Entropy) Distribution(Tensor logits)
    {
        using var scope = NewDisposeScope();
        var logSum = logits.logsumexp(1, keepdim: true);
        var probabilities = (logits - logSum).exp_();
        var entropy = logSum - (probabilities * logits).sum(1, keepdim: true);
        return (logSum.MoveToOuterDisposeScope(), probabilities.MoveToOuterDisposeScope(), entropy.MoveToOuterDisposeScope());
    }

    private static void Write(HeadResult values, long first, Tensor logProbs, Tensor entropies)
    {
        HostArrays.Double(logProbs).CopyTo(values.LogProbs, first);
        HostArrays.Double(entropies).CopyTo(values.Entropies, first);
    }

    private static Tensor Logits(Tensor hidden, PackedTokens batch, long first, Tensor weight)
    {
        using var scope = NewDisposeScope();
        var logits = hidden.mm(weight.t());
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

    private static Tensor Targets(PackedTokens batch, long first, long count)
    {
        using var scope = NewDisposeScope();
        return batch.TargetIds.narrow(0, first, count).unsqueeze(1).MoveToOuterDisposeScope();
    }

    /// <summary>The chunks that some hidden states are worked on in: first row and number of rows.</summary>
    public IEnumerable<(long First, long Count)> Chunks(Tensor hidden)
    {
        for (long first = 0; first < hidden.shape[0]; first += _rowsPerChunk)
            yield return (first, Math.Min(_rowsPerChunk, hidden.shape[0] - first));
    }
}

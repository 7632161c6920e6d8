// Facts about whole next-token distributions, for the objectives that look at more than the sampled token's log-prob:
//
//   before the first mini-batch   the old policy's head inputs are kept, and a copy of its output projection
//   per micro-batch, per chunk    log distributions [chunk, vocabulary] of both policies -> a few numbers per token -> host
//
// The old distributions are computed again from what was kept, so nothing of size [tokens, vocabulary] ever exists; a
// chunk's logits fit the language head's memory budget.
using Sapo.Core;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using static TorchSharp.torch;

namespace Sapo.Learner;

/// <summary>Answers a <see cref="DistributionRequest"/> during one policy step.</summary>
internal sealed class DistributionProbe
{
    /// <summary>Bytes of one [tokens, k, hidden] intermediate of Adam's direction.</summary>
    private const long DirectionBytes = 32L << 20;

    private readonly DistributionRequest _request;
    private readonly DecoderModel _model;
    private readonly AdamW _optimizer;
    private readonly Dictionary<TrainingRow, Tensor> _oldHeadInputs = new(ReferenceEqualityComparer.Instance);
    private Tensor? _oldWeight;

    /// <summary>A probe of one model.</summary>
    /// <param name="request">What is asked.</param>
    /// <param name="model">The policy.</param>
    /// <param name="optimizer">Its optimizer: CAPO looks at the moments of the output projection.</param>
    /// <exception cref="UserErrorException">CAPO's model is asked for, but the output projection is not trained.</exception>
    public DistributionProbe(DistributionRequest request, DecoderModel model, AdamW optimizer)
    {
        if (request.Facts == DistributionFacts.Curvature && model.HeadSlot is null)
            throw new UserErrorException("Objective capo is given with an adapter", "a model whose output projection is trained, which is what its last-layer model is about", "Train without the adapter, or choose another objective");
        (_request, _model, _optimizer) = (request, model, optimizer);
    }

    /// <summary>Whether the anchor pass must show the old policy by <see cref="Remember"/>.</summary>
    public bool ComparesWithOldPolicy => _request.ComparesWithOldPolicy;

    /// <summary>Keeps the old policy's head inputs of some rows; the model's weights must still be the old ones.</summary>
    /// <param name="rows">The rows packed into the batch, in order.</param>
    /// <param name="batch">The batch.</param>
    /// <param name="headInput">[M, hidden].</param>
    public void Remember(TrainingRow[] rows, PackedTokens batch, Tensor headInput)
    {
        using var scope = NewDisposeScope();
        _oldWeight ??= _model.Head.CopyWeight().DetachFromDisposeScope();
        long start = 0;
        foreach (var row in rows)
        {
            _oldHeadInputs.Add(row, headInput.narrow(0, start, row.Length).clone().DetachFromDisposeScope());
            start += row.Length;
        }
    }

    /// <summary>The facts of some rows under the present weights.</summary>
    /// <param name="rows">The rows packed into the batch, in order.</param>
    /// <param name="batch">The batch.</param>
    /// <param name="headInput">[M, hidden] of the present weights.</param>
    /// <param name="learningRate">Of the step that is about to be made.</param>
    public TokenDistributions Look(TrainingRow[] rows, PackedTokens batch, Tensor headInput, double learningRate)
    {
        using var scope = NewDisposeScope();
        return _request.Facts switch
        {
            DistributionFacts.TopK => TopK(OldHeadInputs(rows), batch, headInput),
            DistributionFacts.Divergence => Divergence(OldHeadInputs(rows), batch, headInput),
            _ => Curvature([.. rows.SelectMany(row => row.Advantages)], batch, headInput, learningRate),
        };
    }

    /// <summary>Forgets the old policy; a step ends with it.</summary>
    public void Forget()
    {
        foreach (var kept in _oldHeadInputs.Values) kept.Dispose();
        _oldHeadInputs.Clear();
        _oldWeight?.Dispose();
        _oldWeight = null;
    }

    private Tensor OldHeadInputs(TrainingRow[] rows) => cat([.. rows.Select(row => _oldHeadInputs[row])], 0);

    private TokenDistributions TopK(Tensor oldHeadInput, PackedTokens batch, Tensor headInput)
    {
        var (old, current, contained) = (new List<double[]>(), new List<double[]>(), new List<bool>());
        foreach (var chunk in _model.Head.Chunks(batch))
        {
            using var scope = NewDisposeScope();
            var (likeliest, ids) = _model.Head.LogDistributions(oldHeadInput, batch, chunk, _oldWeight).topk(Math.Min(_request.TopK, _model.Config.VocabSize));
            old.AddRange(Rows(likeliest.exp_()));
            current.AddRange(Rows(_model.Head.LogDistributions(headInput, batch, chunk).gather(1, ids).exp_()));
            var listed = HostArrays.Int64(ids).Chunk((int)ids.shape[1]);
            contained.AddRange(listed.Select((list, token) => list.Contains(batch.Targets[chunk.First + token])));
        }
        return new TokenDistributions { AnchorTopK = [.. old], CurrentTopK = [.. current], SampledInTopK = [.. contained] };
    }

    private TokenDistributions Divergence(Tensor oldHeadInput, PackedTokens batch, Tensor headInput)
    {
        var (divergences, variances) = (new List<double>(), new List<double>());
        foreach (var chunk in _model.Head.Chunks(batch))
        {
            using var scope = NewDisposeScope();
            var old = _model.Head.LogDistributions(oldHeadInput, batch, chunk, _oldWeight);
            var logRatio = _model.Head.LogDistributions(headInput, batch, chunk).sub_(old);
            var probability = old.exp_();
            var mean = (probability * logRatio).sum(1, keepdim: true);
            divergences.AddRange(HostArrays.Double(mean).Select(value => Math.Max(0, -value))); // below 0 by rounding alone
            var deviation = logRatio.sub_(mean);
            variances.AddRange(HostArrays.Double(probability.mul_(deviation).mul_(deviation).sum(1)));
        }
        return new TokenDistributions { OldToCurrentKl = [.. divergences], LogRatioVariance = [.. variances] };
    }

    private TokenDistributions Curvature(double[] advantages, PackedTokens batch, Tensor headInput, double learningRate)
    {
        var shifts = new List<(double Objective, double Policy)>();
        foreach (var chunk in _model.Head.Chunks(batch))
        {
            using var scope = NewDisposeScope();
            var ofChunk = advantages[(int)chunk.First..(int)(chunk.First + chunk.Count)];
            var (likeliest, ids) = _model.Head.LogDistributions(headInput, batch, chunk).topk(Math.Min(_request.TopK, _model.Config.VocabSize));
            var probability = (likeliest - likeliest.logsumexp(1, keepdim: true)).exp_();
            var targets = batch.TargetIds.narrow(0, chunk.First, chunk.Count).unsqueeze(1);
            var score = ids.eq(targets).to_type(probability.dtype).sub_(probability); // v = onehot(sampled) - pi
            var rowGradient = tensor(ofChunk, device: headInput.device).to_type(score.dtype).unsqueeze(1).mul(score);
            var hidden = headInput.narrow(0, chunk.First, chunk.Count);
            var step = _request.AdamDirection && _optimizer.Steps > 0
                ? AdamSteps(hidden, ids, rowGradient)
                : rowGradient * (hidden * hidden).sum(1, keepdim: true); // u = G h
            var scoreByStep = HostArrays.Double((score * step).sum(1));
            var meanStep = HostArrays.Double((probability * step).sum(1));
            var meanSquareStep = HostArrays.Double((probability * step * step).sum(1));
            shifts.AddRange(ofChunk.Select((advantage, token) =>
                LastLayerCurvature.FromSums(scoreByStep[token], meanStep[token], meanSquareStep[token], advantage, learningRate)));
        }
        return new TokenDistributions { ObjectiveShift = [.. shifts.Select(shift => shift.Objective)], PolicyShift = [.. shifts.Select(shift => shift.Policy)] };
    }

    /// <summary>
    /// [n, k] G h, G being AdamW's bias-corrected direction after one token's gradient alone: the moments' rows of the stored tokens
    /// are read, not changed.
    /// </summary>
    private Tensor AdamSteps(Tensor hidden, Tensor ids, Tensor rowGradient)
    {
        var (options, slot, k, width) = (_optimizer.Options, _model.HeadSlot!, ids.shape[1], hidden.shape[1]);
        var first = _optimizer.FirstMoment.narrow(0, slot.Offset, slot.Count).view(slot.Shape);
        var second = _optimizer.SecondMoment.narrow(0, slot.Offset, slot.Count).view(slot.Shape);
        var firstCorrection = 1 - Math.Pow(options.Beta1, _optimizer.Steps + 1);
        var secondCorrection = 1 - Math.Pow(options.Beta2, _optimizer.Steps + 1);
        var steps = rowGradient.empty_like();
        var most = Math.Max(1, DirectionBytes / (k * width * hidden.ElementSize));
        for (long start = 0; start < hidden.shape[0]; start += most)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(most, hidden.shape[0] - start);
            var input = hidden.narrow(0, start, count).unsqueeze(1);
            var gradient = rowGradient.narrow(0, start, count).unsqueeze(2) * input; // [count, k, hidden]
            var rows = ids.narrow(0, start, count).reshape(-1);
            var m = first.index_select(0, rows).view(count, k, width).mul_(options.Beta1).add_(gradient, 1 - options.Beta1).div_(firstCorrection);
            var v = second.index_select(0, rows).view(count, k, width).mul_(options.Beta2).addcmul_(gradient, gradient, 1 - options.Beta2);
            var direction = m.div_(v.div_(secondCorrection).sqrt_().add_(options.Epsilon));
            steps.narrow(0, start, count).copy_(direction.mul_(input).sum(2));
        }
        return steps;
    }

    private static IEnumerable<double[]> Rows(Tensor values) => HostArrays.Double(values).Chunk((int)values.shape[1]);
}

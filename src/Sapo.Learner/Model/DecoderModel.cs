// The decoder: embedding, layers, final norm, head; qwen2, qwen3, qwen3_moe, llama, mistral, as ModelConfig says.
//
//   token ids -> embedding -> [ attention + MLP ] x layers -> hidden states of the predicting tokens -> norm -> head
//
// The backward pass is written out beside the forward pass, piece by piece, instead of being recorded: gradients are added
// straight into the flat buffer, each piece keeps only what its derivative needs, and a step is a fixed list of calls.
// Every derivative is held to reference gradients and to finite differences by tests.
using Sapo.Core.Models;
using Sapo.Learner.Batches;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>A causal language model bound to a policy's weights, which it does not own.</summary>
internal sealed class DecoderModel
{
    /// <summary>Attention probabilities of all layers together are kept for the backward pass up to this size, else computed again.</summary>
    public const long MaxKeptProbabilityBytes = 512L << 20;

    private readonly ScalarType _precision;
    private readonly Parameter _embedding, _norm;
    private readonly Attention[] _attention;
    private readonly FeedForward[] _feedForward;
    private readonly LanguageHead _head;

    /// <summary>Binds the parameters of a policy without an adapter.</summary>
    public DecoderModel(ModelConfig config, FlatParameters parameters, long headChunkBytes = LanguageHead.DefaultChunkBytes)
        : this(config, new PolicyWeights(parameters), headChunkBytes)
    {
    }

    /// <summary>Binds the weights.</summary>
    public DecoderModel(ModelConfig config, PolicyWeights weights, long headChunkBytes = LanguageHead.DefaultChunkBytes)
    {
        (Config, Weights, _precision) = (config, weights, weights.Checkpoint.Values.dtype);
        _embedding = weights["model.embed_tokens.weight"];
        _norm = weights["model.norm.weight"];
        _attention = [.. Enumerable.Range(0, config.LayerCount).Select(layer => new Attention(config, weights, layer))];
        _feedForward = [.. Enumerable.Range(0, config.LayerCount).Select(layer => new FeedForward(config, weights, layer))];
        _head = new LanguageHead(config.TieWordEmbeddings ? _embedding : weights["lm_head.weight"], headChunkBytes);
    }

    /// <summary>The architecture.</summary>
    public ModelConfig Config { get; }

    /// <summary>What it computes with.</summary>
    public PolicyWeights Weights { get; }

    /// <summary>The output projection.</summary>
    public LanguageHead Head => _head;

    /// <summary>The trained tensor that the output projection is: where its moments lie in the optimizer's. Null where an adapter is trained instead.</summary>
    public ParameterSlot? HeadSlot => Weights.Adapter is not null ? null : Weights.Checkpoint.Slot(Config.TieWordEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight");

    /// <summary>Computes log-probs and entropies and forgets everything else.</summary>
    /// <param name="batch">The tokens.</param>
    /// <param name="look">Sees the head's input [M, hidden] before it is forgotten.</param>
    public HeadResult Evaluate(PackedTokens batch, Action<Tensor>? look = null)
    {
        using var scope = NewDisposeScope();
        using var pass = RunLayers(batch, keep: false);
        look?.Invoke(pass.HeadInput);
        return _head.Forward(pass.HeadInput, batch);
    }

    /// <summary>The forward pass through the layers, with what the backward pass needs. The caller disposes it.</summary>
    public ForwardPass Forward(PackedTokens batch) => RunLayers(batch, keep: true);

    /// <summary>Log-probs and entropies of a pass.</summary>
    public HeadResult Values(ForwardPass pass) => _head.Forward(pass.HeadInput, pass.Batch);

    /// <summary>[M, vocabulary]: the logits that predict each target, temperature included.</summary>
    public Tensor Logits(PackedTokens batch)
    {
        using var scope = NewDisposeScope();
        using var pass = RunLayers(batch, keep: false);
        return _head.AllLogits(pass.HeadInput).MoveToOuterDisposeScope();
    }

    /// <summary>Adds dL/dparameter of every trained parameter to its flat gradient buffer.</summary>
    /// <param name="pass">A forward pass with the present weights; used up.</param>
    /// <param name="slopes">dL/dlog-prob and dL/dentropy [M].</param>
    /// <param name="routerBalance">Coefficient of the router's load-balance loss; 0 leaves it out.</param>
    /// <returns>The load-balance loss, before its coefficient; 0 where it is left out.</returns>
    public double Backward(ForwardPass pass, HeadSlopes slopes, double routerBalance = 0)
    {
        using var headInput = BackwardHead(pass, slopes);
        return BackwardLayers(pass, headInput, routerBalance);
    }

    /// <summary>The head's backward pass for slopes that are known beforehand. The caller disposes dL/dhead input [M, hidden].</summary>
    public Tensor BackwardHead(ForwardPass pass, HeadSlopes slopes) => _head.Backward(pass.HeadInput, pass.Batch, slopes);

    /// <summary>The head forward and backward, and in between the loss: see <see cref="LanguageHead.Train"/>. The caller disposes dL/dhead input [M, hidden].</summary>
    public Tensor TrainHead(ForwardPass pass, Func<HeadSpan, HeadSlopes> loss, bool atOnce = false) => _head.Train(pass.HeadInput, pass.Batch, loss, atOnce);

    /// <summary>The backward pass of everything below the head.</summary>
    /// <param name="pass">The pass; used up.</param>
    /// <param name="headInput">What <see cref="TrainHead"/> returned; overwritten.</param>
    /// <param name="routerBalance">As in <see cref="Backward"/>.</param>
    /// <returns>The load-balance loss, before its coefficient; 0 where it is left out.</returns>
    public double BackwardLayers(ForwardPass pass, Tensor headInput, double routerBalance = 0)
    {
        using var scope = NewDisposeScope();
        var batch = pass.Batch;
        var weight = RmsNorm.Backward(pass.FinalNorm, _norm.Value, headInput.mul_(pass.InverseTemperatures));
        _norm.Gradient?.add_(weight);
        var residual = headInput.new_zeros([batch.TokenCount, Config.HiddenSize]);
        residual.index_add_(0, batch.Predictors, headInput, 1);
        var (balanceLoss, balance) = routerBalance == 0 ? (0, null) : pass.Balance(Config.Mixture!);
        balance?.mul_(routerBalance);
        for (var layer = Config.LayerCount - 1; layer >= Weights.FirstTrainedLayer; layer--)
        {
            using var layerScope = NewDisposeScope();
            var state = pass.InputOf(layer) is { } input ? RunLayer(layer, input, pass).State : pass.Layers[layer]!;
            _feedForward[layer].Backward(state.FeedForward, residual, balance);
            _attention[layer].Backward(state.Attention, pass.Rotary, residual);
            pass.Release(layer);
        }
        _embedding.Gradient?.index_add_(0, batch.TokenIds, residual, 1);
        return balanceLoss;
    }

    private ForwardPass RunLayers(PackedTokens batch, bool keep)
    {
        using var scope = NewDisposeScope();
        var pass = new ForwardPass(batch, new RotaryEmbedding(Config, batch.Positions, _precision));
        try
        {
            var x = _embedding.Value.index_select(0, batch.TokenIds);
            for (var layer = 0; layer < Config.LayerCount; layer++) x = Advance(layer, x, pass, keep);
            var (normed, norm) = RmsNorm.Forward(x.index_select(0, batch.Predictors), _norm.Value, Config.RmsNormEpsilon);
            pass.SetHead(norm, normed, batch.InverseTemperatures.to_type(_precision).unsqueeze(1));
            return pass;
        }
        catch
        {
            pass.Dispose();
            throw;
        }
    }

    /// <summary>One layer's output; its input is kept, or freed.</summary>
    private Tensor Advance(int layer, Tensor x, ForwardPass pass, bool keep)
    {
        using var scope = NewDisposeScope();
        var (sum, state) = RunLayer(layer, x, pass);
        if (!keep) x.Dispose();
        else if (layer < Weights.FirstTrainedLayer)
        {
            pass.KeepNothing(state.FeedForward.Mixture);
            x.Dispose();
        }
        else if (Weights.Compute.RecomputesActivations) pass.KeepInput(x, state.FeedForward.Mixture);
        else
        {
            pass.Keep(state);
            x.Dispose();
        }
        return sum.MoveToOuterDisposeScope();
    }

    /// <summary>Runs a layer; output and state belong to the present dispose scope.</summary>
    private (Tensor Sum, LayerState State) RunLayer(int layer, Tensor x, ForwardPass pass)
    {
        var (attended, attention) = _attention[layer].Forward(x, pass.Batch.Blocks, pass.Rotary, KeepsProbabilities(pass.Batch));
        var (sum, feedForward) = _feedForward[layer].Forward(attended);
        return (sum, new LayerState(attention, feedForward));
    }

    /// <summary>Whether the probabilities that are held at once, of one layer or of all, are few enough.</summary>
    private bool KeepsProbabilities(PackedTokens batch)
    {
        var elements = Weights.Compute.RecomputesActivations ? Config.SlidingWindows.Max(batch.TileElements) : Config.SlidingWindows.Sum(batch.TileElements);
        return elements * Config.HeadCount * _embedding.Value.ElementSize <= MaxKeptProbabilityBytes;
    }
}

// A router picks k experts per token (softmax over all experts, then the k largest, optionally divided by their sum); each
// expert is a gated MLP that sees only its own tokens; their outputs are added, times the router's weights.
using Sapo.Core.Models;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>One expert's share of a batch.</summary>
/// <param name="Expert">Its index.</param>
/// <param name="Tokens">[n] Int64: the tokens it sees.</param>
/// <param name="Choices">[n] Int64: where its weights lie in the flattened [N, k].</param>
/// <param name="GateUp">[n, 2 x width].</param>
/// <param name="Output">[n, hidden].</param>
internal sealed record ExpertState(int Expert, Tensor Tokens, Tensor Choices, Tensor GateUp, Tensor Output);

/// <summary>What a mixture keeps from its forward pass.</summary>
/// <param name="Probabilities">[N, experts]: the router's softmax.</param>
/// <param name="Chosen">[N, k] Int64: the experts, best first.</param>
/// <param name="Top">[N, k]: their probabilities.</param>
/// <param name="Weights">[N, k]: what multiplies their outputs.</param>
/// <param name="Experts">The experts that any token chose.</param>
internal sealed record MixtureState(Tensor Probabilities, Tensor Chosen, Tensor Top, Tensor Weights, IReadOnlyList<ExpertState> Experts)
{
    /// <summary>How the router divided the batch.</summary>
    public RouterLoad Load()
    {
        using var scope = NewDisposeScope();
        var probabilities = HostArrays.Double(Probabilities.sum(dim: 0));
        var choices = new double[probabilities.Length];
        foreach (var expert in Experts) choices[expert.Expert] = expert.Tokens.shape[0];
        return new RouterLoad(choices, probabilities);
    }

    /// <summary>The tensors this state owns.</summary>
    public IEnumerable<Tensor> Tensors() =>
        Experts.SelectMany(expert => new[] { expert.Tokens, expert.Choices, expert.GateUp, expert.Output }).Concat([Probabilities, Chosen, Top, Weights]);
}

/// <summary>The sparse MLP of a qwen3_moe layer.</summary>
internal sealed class MixtureOfExperts
{
    private readonly MixtureConfig _config;
    private readonly Linear _router;
    private readonly GatedMlp[] _experts;

    /// <summary>Binds the parameters below a prefix such as <c>model.layers.0.mlp.</c>.</summary>
    public MixtureOfExperts(MixtureConfig config, PolicyWeights weights, string prefix)
    {
        _config = config;
        _router = weights.PreciseLinear(prefix + "gate");
        _experts = [.. Enumerable.Range(0, config.Experts).Select(expert => new GatedMlp(weights, $"{prefix}experts.{expert}."))];
    }

    /// <summary>residual + mixture(x), x [N, hidden].</summary>
    public (Tensor Sum, MixtureState State) ForwardAddedTo(Tensor residual, Tensor x)
    {
        using var scope = NewDisposeScope();
        var probabilities = _router.Forward(x).softmax(-1);
        var (top, chosen) = probabilities.topk(_config.ExpertsPerToken, dim: -1);
        var weights = _config.NormalizeTopK ? top / top.sum(-1, keepdim: true) : top.alias();
        var sum = residual.clone();
        var experts = new List<ExpertState>();
        foreach (var (expert, choices) in ChoicesByExpert(chosen))
        {
            var choiceIndex = tensor(choices, device: x.device);
            var tokens = tensor(Array.ConvertAll(choices, choice => choice / _config.ExpertsPerToken), device: x.device);
            var gateUp = _experts[expert].GateUp(x.index_select(0, tokens));
            var output = _experts[expert].Forward(gateUp);
            sum.index_add_(0, tokens, output * WeightsOf(weights, choiceIndex), 1);
            experts.Add(new ExpertState(expert, tokens, choiceIndex, gateUp, output));
        }
        var state = new MixtureState(probabilities, chosen, top, weights, experts);
        foreach (var kept in state.Tensors()) kept.MoveToOuterDisposeScope();
        return (sum.MoveToOuterDisposeScope(), state);
    }

    /// <summary>Adds the gradients of router and experts and returns that of x.</summary>
    /// <param name="state">From the forward pass.</param>
    /// <param name="x">[N, hidden]: the input.</param>
    /// <param name="gradient">[N, hidden]: dL/doutput.</param>
    /// <param name="balanceGradient">[experts]: what the load-balance loss adds to dL/dprobability of every token, or null.</param>
    public Tensor Backward(MixtureState state, Tensor x, Tensor gradient, Tensor? balanceGradient)
    {
        using var scope = NewDisposeScope();
        var inputGradient = x.zeros_like();
        var weightGradient = state.Weights.zeros_like();
        foreach (var expert in state.Experts)
        {
            var output = gradient.index_select(0, expert.Tokens);
            weightGradient.view(-1).index_copy_(0, expert.Choices, (output * expert.Output).sum(dim: -1));
            output.mul_(WeightsOf(state.Weights, expert.Choices));
            inputGradient.index_add_(0, expert.Tokens, _experts[expert.Expert].Backward(x.index_select(0, expert.Tokens), expert.GateUp, output), 1);
        }
        if (_config.NormalizeTopK)
            weightGradient.sub_((weightGradient * state.Weights).sum(-1, keepdim: true)).div_(state.Top.sum(-1, keepdim: true));
        var probabilities = state.Probabilities.zeros_like().scatter_(1, state.Chosen, weightGradient);
        if (balanceGradient is not null) probabilities.add_(balanceGradient);
        probabilities.mul_(state.Probabilities); // the derivative of softmax: p * (d - sum(p * d))
        probabilities.addcmul_(state.Probabilities, probabilities.sum(-1, keepdim: true), -1);
        inputGradient.add_(_router.Backward(x, probabilities));
        return inputGradient.MoveToOuterDisposeScope();
    }

    private static Tensor WeightsOf(Tensor weights, Tensor choices)
    {
        using var scope = NewDisposeScope();
        return weights.view(-1).index_select(0, choices).unsqueeze(1).MoveToOuterDisposeScope();
    }

    /// <summary>Per chosen expert the places in the flattened [N, k] where it was chosen, in order.</summary>
    private static IEnumerable<(int Expert, long[] Choices)> ChoicesByExpert(Tensor chosen)
    {
        var experts = HostArrays.Int64(chosen);
        return Enumerable.Range(0, experts.Length).GroupBy(choice => (int)experts[choice])
            .OrderBy(group => group.Key).Select(group => (group.Key, group.Select(choice => (long)choice).ToArray()));
    }
}

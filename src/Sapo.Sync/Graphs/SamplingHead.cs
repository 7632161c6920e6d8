// Logits in, one token per row out, without the logits ever leaving the graph:
//   logits / temperature -> log-softmax -> (truncation) -> draw by inverse CDF -> token and its log-probs
// Greedy rows (temperature 0) take the largest logit; rows with a forced token take that.
// A NaN among a row's logits makes the row's log-probs NaN: the engine refuses such a row.
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>The values a draw depends on, one per row unless said.</summary>
/// <param name="Uniform">Float [B] in [0, 1).</param>
/// <param name="Temperature">Float [B], 0 for greedy.</param>
/// <param name="ForcedToken">int64 [B], -1 to sample.</param>
internal sealed record DrawInputs(Value Uniform, Value Temperature, Value ForcedToken);

/// <summary>What the head puts out, one per row.</summary>
/// <param name="Token">int64 [B].</param>
/// <param name="LogProb">Float [B]: of the distribution drawn from.</param>
/// <param name="UntruncatedLogProb">Float [B]: at the temperature alone.</param>
/// <param name="KeptCount">int64 [B]: number of ids the distribution drawn from gives a probability.</param>
/// <param name="KeptIds">int64 [B, K].</param>
internal sealed record SampledTokens(Value Token, Value LogProb, Value UntruncatedLogProb, Value KeptCount, Value KeptIds);

/// <summary>Writes the sampling head over logits [B, vocabulary].</summary>
internal sealed class SamplingHead(GraphBuilder graph, int vocabulary)
{
    /// <summary>Writes the head.</summary>
    public SampledTokens Write(Value logits, DrawInputs inputs)
    {
        graph.Scope = "sampling";
        var greedy = graph.Op("Equal", [inputs.Temperature, graph.Scalar(0f)]);
        var divisor = graph.Op("Where", [greedy, graph.Scalar(1f), inputs.Temperature]);
        var scaled = graph.Op("Div", [logits, graph.Op("Unsqueeze", [divisor, graph.Integers(1)])]);
        var logProbs = graph.Op("LogSoftmax", [scaled], ("axis", -1));
        var drawn = new InverseCdf(graph, vocabulary).Draw(logProbs, inputs.Uniform);
        var best = graph.Op("ArgMax", [logits], ("axis", 1), ("keepdims", 0));
        var sampled = graph.Op("Where", [greedy, best, drawn]);
        var forced = graph.Op("GreaterOrEqual", [inputs.ForcedToken, graph.Scalar(0L)]);
        var token = graph.Op("Where", [forced, inputs.ForcedToken, sampled]);
        var untruncated = At(logProbs, token);
        var certain = graph.Op("Sub", [untruncated, untruncated]); // 0, or NaN where the logits are
        var logProb = graph.Op("Where", [greedy, certain, untruncated]);
        var rows = graph.Op("Shape", [token]);
        var keptCount = graph.Op("Expand", [graph.Scalar((long)vocabulary), rows]);
        var keptIds = graph.Op("Expand", [graph.Constant(ReadOnlySpan<long>.Empty, 1, 0), graph.Op("Concat", [rows, graph.Integers(1)], ("axis", 0))]);
        return new SampledTokens(token, logProb, untruncated, keptCount, keptIds);
    }

    private Value At(Value logProbs, Value token)
    {
        var axis = graph.Integers(1);
        return graph.Op("Squeeze", [graph.Op("GatherElements", [logProbs, graph.Op("Unsqueeze", [token, axis])], ("axis", 1)), axis]);
    }
}

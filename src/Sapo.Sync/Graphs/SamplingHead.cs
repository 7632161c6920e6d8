// Logits in, one token per row out, without the logits ever leaving the graph:
//   logits -> (penalties) -> / temperature -> log-softmax -> (truncation) -> draw by inverse CDF -> token and its log-probs
//                                              └─> (most likely tokens beside it)
// What stands in brackets is skipped when no row asks for it.
// Greedy rows (temperature 0) take the largest logit; rows with a forced token take that.
// A NaN among a row's logits makes the row's log-probs NaN: the engine refuses such a row.
// In decode.direct.onnx all of it is one node, sapo.Sample, which computes the same by kernels of the engine.
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>The values a draw depends on, one per row unless said.</summary>
/// <param name="Uniform">Float [B] in [0, 1).</param>
/// <param name="Temperature">Float [B], 0 for greedy.</param>
/// <param name="Penalties">What is done to the logits first.</param>
/// <param name="Cuts">How the distribution is cut.</param>
/// <param name="Truncate">Bool scalar: false skips truncation, whatever the rows say.</param>
/// <param name="ForcedToken">int64 [B], -1 to sample.</param>
/// <param name="Alternatives">int64 [B]: how many of the most likely tokens are listed; all rows get as many as the one that wants most.</param>
internal sealed record DrawInputs(Value Uniform, Value Temperature, PenaltyInputs Penalties, CutInputs Cuts, Value Truncate, Value ForcedToken, Value Alternatives);

/// <summary>What the head puts out, one per row.</summary>
/// <param name="Token">int64 [B].</param>
/// <param name="LogProb">Float [B]: of the distribution drawn from; 0 for greedy rows.</param>
/// <param name="UntruncatedLogProb">Float [B]: after penalties and temperature alone; at temperature 1 for greedy rows.</param>
/// <param name="KeptCount">int64 [B]: number of ids that truncation left.</param>
/// <param name="KeptIds">int64 [B, K]: the most likely of those ids, then -1; K is the limit, or 0 without truncation.</param>
/// <param name="AlternativeIds">int64 [B, N]: the most likely ids before truncation.</param>
/// <param name="AlternativeLogProbs">Float [B, N]: theirs, as <paramref name="UntruncatedLogProb"/>.</param>
internal sealed record SampledTokens(Value Token, Value LogProb, Value UntruncatedLogProb, Value KeptCount, Value KeptIds, Value AlternativeIds, Value AlternativeLogProbs);

/// <summary>Writes the sampling head over logits [B, vocabulary].</summary>
internal sealed class SamplingHead(GraphBuilder graph, int vocabulary, DrawInputs inputs)
{
    /// <summary>Writes the head as the engine's own operator.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="logits">Float [B, vocabulary].</param>
    /// <param name="inputs">What draws depend on.</param>
    /// <param name="outputs">Names for what <see cref="SampledTokens"/> lists, in its order.</param>
    public static void WriteDirect(GraphBuilder graph, Value logits, DrawInputs inputs, ReadOnlySpan<string> outputs)
    {
        graph.Scope = "sampling";
        var (penalties, cuts) = (inputs.Penalties, inputs.Cuts);
        graph.Node(
            "sapo.Sample",
            [
                logits, inputs.Uniform, inputs.Temperature,
                penalties.Repetition, penalties.Frequency, penalties.Presence, penalties.History, penalties.HistoryCounts, penalties.HistoryLength,
                cuts.TopK, cuts.TopP, cuts.MinP, cuts.MinPFirst, cuts.KeptLimit, inputs.Truncate, inputs.ForcedToken, inputs.Alternatives,
            ],
            outputs);
    }

    /// <summary>Writes the head.</summary>
    public SampledTokens Write(Value rawLogits)
    {
        graph.Scope = "sampling";
        var logits = new Penalties(graph, inputs.Penalties).Apply(rawLogits);
        var greedy = graph.Op("Equal", [inputs.Temperature, graph.Scalar(0f)]);
        var divisor = graph.Op("Where", [greedy, graph.Scalar(1f), inputs.Temperature]);
        var scaled = graph.Op("Div", [logits, graph.Column(divisor)]);
        var logProbs = graph.Op("LogSoftmax", [scaled], ("axis", -1));
        var anyGreedy = graph.Op("Greater", [graph.CountTrue(greedy, axis: 0), graph.Scalar(0L)]);
        var best = graph.If(
            anyGreedy, [ElementType.Int64],
            branch => [branch.Op("ArgMax", [logits], ("axis", 1), ("keepdims", 0))],
            _ => [inputs.ForcedToken])[0]; // of no row is looked at

        var sampled = graph.If(
            inputs.Truncate,
            [ElementType.Int64, ElementType.Float, ElementType.Int64, ElementType.Int64],
            branch =>
            {
                var truncation = new Truncation(branch, vocabulary, inputs.Cuts, greedy);
                var cut = truncation.Write(logits, logProbs);
                var token = Choose(branch, cut.LogProbs, greedy, best);
                return [token, At(branch, cut.LogProbs, token), cut.KeptCount, cut.KeptIds];
            },
            branch =>
            {
                var token = Choose(branch, logProbs, greedy, best);
                return [token, At(branch, logProbs, token), EveryRow(branch, vocabulary), branch.EmptyRows<long>(inputs.ForcedToken)];
            });

        var untruncated = At(graph, logProbs, sampled[0]);
        var certain = graph.Op("Sub", [untruncated, untruncated]); // 0, or NaN where the logits are
        var likely = new Alternatives(graph, inputs.Alternatives).Write(logits, logProbs);
        return new SampledTokens(sampled[0], graph.Op("Where", [greedy, certain, sampled[1]]), untruncated, sampled[2], sampled[3], likely.Ids, likely.LogProbs);
    }

    private Value Choose(GraphBuilder within, Value distribution, Value greedy, Value best)
    {
        var drawn = new InverseCdf(within, vocabulary).Draw(distribution, inputs.Uniform);
        var sampled = within.Op("Where", [greedy, best, drawn]);
        var forced = within.Op("GreaterOrEqual", [inputs.ForcedToken, within.Scalar(0L)]);
        return within.Op("Where", [forced, inputs.ForcedToken, sampled]);
    }

    private Value EveryRow(GraphBuilder within, long value) => within.Op("Expand", [within.Scalar(value), within.Op("Shape", [inputs.ForcedToken])]);

    private static Value At(GraphBuilder within, Value logProbs, Value token)
    {
        var column = within.Op("GatherElements", [logProbs, within.Column(token)], ("axis", 1));
        return within.Op("Squeeze", [column, within.Integers(1)]);
    }
}

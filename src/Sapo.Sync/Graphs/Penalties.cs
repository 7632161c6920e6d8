// Penalties on tokens that were there before, in OpenAI's and vLLM's form and order:
//   repetition r  each id in prompt or output, once:  score < 0 -> score * r, else score / r
//   frequency f   each id in the output:              score - f * (how often)
//   presence p    each id in the output:              score - p
// Only the ids that were there are touched: the work depends on the history's length, not on the vocabulary's size, and
// without a history nothing is computed (the scatter of nothing leaves the scores where they are).
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>What each row is penalised by, and for what.</summary>
/// <param name="Repetition">Float [B], 1 for none.</param>
/// <param name="Frequency">Float [B], 0 for none.</param>
/// <param name="Presence">Float [B], 0 for none.</param>
/// <param name="History">int64 [B, M]: prompt and output so far, in order.</param>
/// <param name="HistoryCounts">Float [B, M]: how often the output holds the id of the same place of the history.</param>
/// <param name="HistoryLength">int64 [B]: tokens of the history, 0 for rows without penalties. Of what lies behind them only the first place is read.</param>
internal sealed record PenaltyInputs(Value Repetition, Value Frequency, Value Presence, Value History, Value HistoryCounts, Value HistoryLength);

/// <summary>Writes the penalties on scores over a vocabulary.</summary>
internal sealed class Penalties(GraphBuilder graph, PenaltyInputs inputs)
{
    /// <summary>Float [B, vocabulary]: the scores, lowered or raised where a row's history says so; without any history nothing is computed.</summary>
    public Value Apply(Value scores)
    {
        var longest = graph.Op("ReduceMax", [inputs.HistoryLength], ("keepdims", 1));
        var isAny = graph.Op("Squeeze", [graph.Op("Greater", [longest, graph.Scalar(0L)]), graph.Integers(0)]);
        return graph.If(isAny, [ElementType.Float], branch => [new Penalties(branch, inputs).Apply(scores, longest)], _ => [scores])[0];
    }

    private Value Apply(Value scores, Value longest)
    {
        var ids = Padded(inputs.History, longest);
        var counts = Padded(inputs.HistoryCounts, longest);
        var isPresent = graph.Cast(graph.Op("Greater", [counts, graph.Scalar(0f)]), ElementType.Float);
        var repeated = Repeated(graph.Op("GatherElements", [scores, ids], ("axis", 1)));
        var lessFrequency = graph.Op("Sub", [repeated, graph.Op("Mul", [graph.Column(inputs.Frequency), counts])]);
        var penalised = graph.Op("Sub", [lessFrequency, graph.Op("Mul", [graph.Column(inputs.Presence), isPresent])]);
        return graph.Op("ScatterElements", [scores, ids, penalised], ("axis", 1)); // an id that stands at several places gets the same score several times
    }

    // [B, longest]: a row's own places, then its first one again and again.
    private Value Padded(Value places, Value longest)
    {
        var cut = graph.Op("Slice", [places, graph.Integers(0), longest, graph.Integers(1)]);
        var first = graph.Op("Slice", [places, graph.Integers(0), graph.Integers(1), graph.Integers(1)]);
        return graph.Op("Where", [graph.Op("Less", [graph.Ranks(cut), graph.Column(inputs.HistoryLength)]), cut, first]);
    }

    private Value Repeated(Value scores)
    {
        var hasHistory = graph.Op("Greater", [inputs.HistoryLength, graph.Scalar(0L)]);
        var penalty = graph.Column(graph.Op("Where", [hasHistory, inputs.Repetition, graph.Scalar(1f)]));
        var isNegative = graph.Op("Less", [scores, graph.Scalar(0f)]);
        return graph.Op("Where", [isNegative, graph.Op("Mul", [scores, penalty]), graph.Op("Div", [scores, penalty])]);
    }
}

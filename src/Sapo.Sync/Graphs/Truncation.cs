// Top-k, then top-p, then min-p, each row with its own numbers, as Hugging Face transformers applies them:
//   top-k  keeps every score that is not below the k-th largest (so all ties with it)
//   top-p  keeps, of what top-k left, the most likely ids until their share reaches p; the id that crosses p stays
//   min-p  keeps ids at least min_p times as likely as the most likely one
// Rows may ask for min-p first, as vLLM applies them: then top-p takes its share of what both others left.
// All three keep the first so many ids in order of their scores, so the least of three counts decides. Sorting a whole
// vocabulary costs more than the rest of the head together, and a cut nearly always lies among the most likely ids: the
// first CandidateCount are sorted, and only if some row's cut lies beyond them are all. Where top-p cuts between equal
// scores, lower ids stay (libraries differ there: their sorts decide).
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>How each row's distribution is cut.</summary>
/// <param name="TopK">int64 [B], 0 keeps all.</param>
/// <param name="TopP">Float [B], 1 keeps all.</param>
/// <param name="MinP">Float [B], 0 keeps all.</param>
/// <param name="MinPFirst">Bool [B]: whether min-p comes before top-p.</param>
/// <param name="KeptLimit">int64 scalar: how many kept ids are listed per row.</param>
internal sealed record CutInputs(Value TopK, Value TopP, Value MinP, Value MinPFirst, Value KeptLimit);

/// <summary>A cut distribution.</summary>
/// <param name="LogProbs">Float [B, vocabulary], renormalized; -infinity for ids that were cut.</param>
/// <param name="KeptCount">int64 [B].</param>
/// <param name="KeptIds">int64 [B, K], most likely first, then -1; K is the limit, and of a larger kept set the rest is left out.</param>
internal sealed record TruncatedDistribution(Value LogProbs, Value KeptCount, Value KeptIds);

/// <summary>Writes the truncation of distributions over a vocabulary.</summary>
/// <param name="graph">Where it is written.</param>
/// <param name="vocabulary">Number of ids.</param>
/// <param name="inputs">How rows are cut.</param>
/// <param name="greedy">Bool [B]: these rows are not cut.</param>
internal sealed class Truncation(GraphBuilder graph, int vocabulary, CutInputs inputs, Value greedy)
{
    private const int CandidateCount = 512;
    private const double SmallestShare = 1e-300; // the most likely id stays even at top-p 0

    /// <summary>Writes the truncation.</summary>
    /// <param name="scores">Float [B, vocabulary]: what ids are ordered by, and what ties are told by: logits.</param>
    /// <param name="logProbs">Float [B, vocabulary]: their log-probs at the temperature.</param>
    public TruncatedDistribution Write(Value scores, Value logProbs)
    {
        var mass = graph.Cast(graph.Op("ReduceSum", [graph.Op("Exp", [logProbs]), graph.Integers(1)], ("keepdims", 1)), ElementType.Double);
        var uncut = Uncut();
        Value[] Sorted(GraphBuilder within, int count) => SortAndCut(within, scores, logProbs, mass, count);
        Value[] cut;
        if (vocabulary <= CandidateCount)
        {
            cut = Sorted(graph, vocabulary);
        }
        else
        {
            var candidates = Sorted(graph, CandidateCount);
            var settled = graph.Op("Or", [uncut, candidates[3]]);
            var allSettled = graph.Op("Equal", [graph.CountTrue(graph.Op("Not", [settled]), axis: 0), graph.Scalar(0L)]);
            cut = graph.If(allSettled, [ElementType.Int64, ElementType.Float, ElementType.Int64], _ => candidates[..3], branch => Sorted(branch, vocabulary)[..3]);
        }
        return Apply(logProbs, uncut, ids: cut[0], sorted: cut[1], count: cut[2]);
    }

    // Bool [B]: rows whose options ask for no cut.
    private Value Uncut()
    {
        var allByCount = graph.Op("LessOrEqual", [inputs.TopK, graph.Scalar(0L)]);
        var allByShare = graph.Op("GreaterOrEqual", [inputs.TopP, graph.Scalar(1f)]);
        var allByRatio = graph.Op("LessOrEqual", [inputs.MinP, graph.Scalar(0f)]);
        return graph.Op("Or", [greedy, graph.Op("And", [allByCount, graph.Op("And", [allByShare, allByRatio])])]);
    }

    private Value CutsByCount(GraphBuilder within) => within.Op(
        "And", [within.Op("Greater", [inputs.TopK, within.Scalar(0L)]), within.Op("Less", [inputs.TopK, within.Scalar((long)vocabulary)])]);

    // The most likely ids [B, count] with their log-probs, how many of them are kept [B], and whether the cut lies among them [B].
    private Value[] SortAndCut(GraphBuilder within, Value scores, Value logProbs, Value mass, int count)
    {
        Value top = new(within.NewName("TopK")), ids = new(within.NewName("TopK"));
        within.Node("TopK", [scores, within.Integers(count)], [top.Name!, ids.Name!], ("axis", 1));
        var sorted = within.Op("GatherElements", [logProbs, ids], ("axis", 1));
        var probabilities = within.Cast(within.Op("Exp", [sorted]), ElementType.Double);
        var cutsByCount = CutsByCount(within);

        var byCount = CountByTopK(within, top, count);
        var byRatio = CountByMinP(within, sorted);
        var ratioFirst = within.Op("And", [inputs.MinPFirst, within.Op("Greater", [inputs.MinP, within.Scalar(0f)])]);
        var beforeShare = within.Op("Where", [ratioFirst, within.Op("Min", [byCount, byRatio]), byCount]); // what top-p takes its share of
        var survivors = within.Op("Where", [within.Op("Less", [within.Ranks(sorted), within.Column(beforeShare)]), probabilities, within.Scalar(0d)]);
        var survivingMass = within.Op(
            "Where", [within.Column(within.Op("Or", [cutsByCount, ratioFirst])), within.Op("ReduceSum", [survivors, within.Integers(1)], ("keepdims", 1)), mass]);
        var share = within.Op("Mul", [within.Column(within.Cast(inputs.TopP, ElementType.Double)), survivingMass]);
        var limit = within.Op("Max", [share, within.Scalar(SmallestShare)]);
        var before = within.Op("CumSum", [probabilities, within.Scalar(1L)], ("exclusive", 1));
        var withinShare = within.Op("Or", [within.Op("Less", [before, limit]), within.Column(within.Op("GreaterOrEqual", [inputs.TopP, within.Scalar(1f)]))]);

        var kept = within.Op("Min", [byCount, byRatio, within.CountTrue(withinShare, axis: 1)]);
        var size = within.Scalar((long)count);
        Value Settled(Value cuts, Value by) => within.Op("Or", [within.Op("Not", [cuts]), within.Op("Less", [by, size])]);
        var massSettled = within.Op("And", [Settled(cutsByCount, byCount), Settled(ratioFirst, byRatio)]);
        return [ids, sorted, kept, within.Op("And", [massSettled, within.Op("Less", [kept, size])])];
    }

    // int64 [B]: how many of the sorted log-probs are possible and near enough to the first; all possible ones where min-p is off.
    private Value CountByMinP(GraphBuilder within, Value sorted)
    {
        var best = within.Op("Slice", [sorted, within.Integers(0), within.Integers(1), within.Integers(1)]);
        var ratio = within.Op("Exp", [within.Op("Sub", [sorted, best])]);
        var withinRatio = within.Op("GreaterOrEqual", [ratio, within.Column(inputs.MinP)]);
        var possible = within.Op("Greater", [sorted, within.Scalar(float.MinValue)]);
        return within.CountTrue(within.Op("And", [withinRatio, possible]), axis: 1);
    }

    // int64 [B]: how many of the sorted scores top-k keeps, ties with the k-th included; all of them where it is off.
    private Value CountByTopK(GraphBuilder within, Value sortedScores, int count)
    {
        var k = within.Op("Where", [CutsByCount(within), within.Op("Min", [inputs.TopK, within.Scalar((long)count)]), within.Scalar((long)count)]);
        var last = within.Column(within.Op("Sub", [k, within.Scalar(1L)]));
        var lowest = within.Op("GatherElements", [sortedScores, last], ("axis", 1));
        return within.CountTrue(within.Op("GreaterOrEqual", [sortedScores, lowest]), axis: 1);
    }

    private TruncatedDistribution Apply(Value logProbs, Value uncut, Value ids, Value sorted, Value count)
    {
        var keptRanks = graph.Op("Less", [graph.Ranks(ids), graph.Column(count)]);
        var impossible = graph.Scalar(float.NegativeInfinity);
        var nothing = graph.Op("Expand", [impossible, graph.Op("Shape", [logProbs])]);
        var masked = graph.Op("ScatterElements", [nothing, ids, graph.Op("Where", [keptRanks, sorted, impossible])], ("axis", 1));
        var renormalized = graph.Op("LogSoftmax", [masked], ("axis", -1));
        var distribution = graph.Op("Where", [graph.Column(uncut), logProbs, renormalized]);

        var listed = graph.Op("And", [keptRanks, graph.Op("Not", [graph.Column(uncut)])]);
        var keptIds = Limited(graph.Op("Where", [listed, ids, graph.Scalar(-1L)]));
        return new TruncatedDistribution(distribution, graph.Op("Where", [uncut, graph.Scalar((long)vocabulary), count]), keptIds);
    }

    // int64 [B, K]: the first K columns of a list, with -1 where it is shorter.
    private Value Limited(Value ids)
    {
        var limit = graph.Op("Unsqueeze", [inputs.KeptLimit, graph.Integers(0)]);
        var listed = graph.Op("Slice", [ids, graph.Integers(0), limit, graph.Integers(1)]);
        var missing = graph.Op("Sub", [limit, graph.Op("Shape", [listed], ("start", 1))]);
        return graph.Op("Pad", [listed, graph.Op("Concat", [graph.Integers(0, 0, 0), missing], ("axis", 0)), graph.Scalar(-1L)]);
    }
}

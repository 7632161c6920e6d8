// Top-k, then top-p, then min-p, each row with its own numbers, as Hugging Face transformers applies them:
//   top-k  keeps every score that is not below the k-th largest (so all ties with it)
//   top-p  keeps, of what top-k left, the most likely ids until their share reaches p; the id that crosses p stays
//   min-p  keeps ids at least min_p times as likely as the most likely one
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
/// <param name="Greedy">Bool [B]: these rows are not cut.</param>
internal sealed record TruncationInputs(Value TopK, Value TopP, Value MinP, Value Greedy);

/// <summary>A cut distribution.</summary>
/// <param name="LogProbs">Float [B, vocabulary], renormalized; -infinity for ids that were cut.</param>
/// <param name="KeptCount">int64 [B].</param>
/// <param name="KeptIds">int64 [B, K], most likely first, then -1; K is the largest count of a row that is cut.</param>
internal sealed record TruncatedDistribution(Value LogProbs, Value KeptCount, Value KeptIds);

/// <summary>Writes the truncation of distributions over a vocabulary.</summary>
internal sealed class Truncation(GraphBuilder graph, int vocabulary, TruncationInputs inputs)
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
        return graph.Op("Or", [inputs.Greedy, graph.Op("And", [allByCount, graph.Op("And", [allByShare, allByRatio])])]);
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
        var survivors = within.Op("Where", [within.Op("Less", [Ranks(within, sorted), within.Column(byCount)]), probabilities, within.Scalar(0d)]);
        var survivingMass = within.Op("Where", [within.Column(cutsByCount), within.Op("ReduceSum", [survivors, within.Integers(1)], ("keepdims", 1)), mass]);
        var share = within.Op("Mul", [within.Column(within.Cast(inputs.TopP, ElementType.Double)), survivingMass]);
        var limit = within.Op("Max", [share, within.Scalar(SmallestShare)]);
        var before = within.Op("CumSum", [probabilities, within.Scalar(1L)], ("exclusive", 1));
        var withinShare = within.Op("Or", [within.Op("Less", [before, limit]), within.Column(within.Op("GreaterOrEqual", [inputs.TopP, within.Scalar(1f)]))]);

        var best = within.Op("Slice", [sorted, within.Integers(0), within.Integers(1), within.Integers(1)]);
        var ratio = within.Op("Exp", [within.Op("Sub", [sorted, best])]);
        var withinRatio = within.Op("GreaterOrEqual", [ratio, within.Column(inputs.MinP)]);
        var possible = within.Op("Greater", [sorted, within.Scalar(float.MinValue)]);

        var byRest = within.CountTrue(within.Op("And", [withinShare, within.Op("And", [withinRatio, possible])]), axis: 1);
        var kept = within.Op("Min", [byCount, byRest]);
        var size = within.Scalar((long)count);
        var countSettled = within.Op("Or", [within.Op("Not", [cutsByCount]), within.Op("Less", [byCount, size])]);
        return [ids, sorted, kept, within.Op("And", [countSettled, within.Op("Less", [kept, size])])];
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
        var keptRanks = graph.Op("Less", [Ranks(graph, ids), graph.Column(count)]);
        var impossible = graph.Scalar(float.NegativeInfinity);
        var nothing = graph.Op("Expand", [impossible, graph.Op("Shape", [logProbs])]);
        var masked = graph.Op("ScatterElements", [nothing, ids, graph.Op("Where", [keptRanks, sorted, impossible])], ("axis", 1));
        var renormalized = graph.Op("LogSoftmax", [masked], ("axis", -1));
        var distribution = graph.Op("Where", [graph.Column(uncut), logProbs, renormalized]);

        var listed = graph.Op("And", [keptRanks, graph.Op("Not", [graph.Column(uncut)])]);
        var width = graph.Op("ReduceMax", [graph.Op("Where", [uncut, graph.Scalar(0L), count])], ("axes", (long[])[0]), ("keepdims", 1));
        var keptIds = graph.Op("Slice", [graph.Op("Where", [listed, ids, graph.Scalar(-1L)]), graph.Integers(0), width, graph.Integers(1)]);
        return new TruncatedDistribution(distribution, graph.Op("Where", [uncut, graph.Scalar((long)vocabulary), count]), keptIds);
    }

    // int64 [1, K]: 0, 1, 2, ... along the second dimension of a matrix.
    private static Value Ranks(GraphBuilder within, Value matrix)
    {
        var width = within.Op("Squeeze", [within.Op("Shape", [matrix], ("start", 1)), within.Integers(0)]);
        return within.Op("Unsqueeze", [within.Op("Range", [within.Scalar(0L), width, within.Scalar(1L)]), within.Integers(0)]);
    }
}

using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>Writes the list of the most likely tokens beside the sampled one.</summary>
internal sealed class Alternatives(GraphBuilder graph, Value wanted)
{
    /// <summary>The list, as long as the row that wants the longest asks for; without such a row nothing is computed.</summary>
    /// <param name="scores">Float [B, vocabulary]: what ids are ordered by; of equal ones the lower id comes first.</param>
    /// <param name="logProbs">Float [B, vocabulary]: what is told of them.</param>
    /// <returns>int64 and float [B, N], most likely first; N is 0 when no row wants any.</returns>
    public (Value Ids, Value LogProbs) Write(Value scores, Value logProbs)
    {
        var most = graph.Op("ReduceMax", [wanted], ("keepdims", 1));
        var isWanted = graph.Op("Squeeze", [graph.Op("Greater", [most, graph.Scalar(0L)]), graph.Integers(0)]);
        var listed = graph.If(
            isWanted,
            [ElementType.Int64, ElementType.Float],
            branch =>
            {
                Value top = new(branch.NewName("TopK")), ids = new(branch.NewName("TopK"));
                branch.Node("TopK", [scores, most], [top.Name!, ids.Name!], ("axis", 1));
                return [ids, branch.Op("GatherElements", [logProbs, ids], ("axis", 1))];
            },
            branch => [branch.EmptyRows<long>(wanted), branch.EmptyRows<float>(wanted)]);
        return (listed[0], listed[1]);
    }
}

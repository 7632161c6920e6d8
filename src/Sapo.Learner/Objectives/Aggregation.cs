using System.Diagnostics;
using Sapo.Core.Options;

namespace Sapo.Learner.Objectives;

/// <summary>
/// How per-token terms x become one number: J = sum over tokens of c * x. B counts every completion submitted, T every
/// counted token of the whole mini-batch (all micro-batches), so accumulation over micro-batches changes nothing.
/// </summary>
/// <param name="Name">One of <see cref="ObjectiveCatalog.Aggregations"/>.</param>
/// <param name="NormConstant">C, for <see cref="ObjectiveCatalog.ConstantNorm"/> alone.</param>
internal sealed record Aggregation(string Name, double? NormConstant = null)
{
    /// <summary>c of the tokens of a row; 0 for a row without counted tokens, so nothing is ever divided by 0.</summary>
    /// <param name="rowTokens">|y_i|: counted tokens of the row.</param>
    /// <param name="totals">B and T of the whole mini-batch.</param>
    public double Coefficient(int rowTokens, BatchTotals totals) => rowTokens == 0 ? 0 : Name switch
    {
        ObjectiveCatalog.SequenceMean => 1.0 / ((double)totals.Sequences * rowTokens),
        ObjectiveCatalog.TokenMean => 1.0 / totals.Tokens,
        ObjectiveCatalog.SequenceSum => 1.0 / totals.Sequences,
        ObjectiveCatalog.ConstantNorm => 1.0 / (totals.Sequences * NormConstant!.Value),
        _ => throw new UnreachableException($"aggregation {Name}"),
    };
}

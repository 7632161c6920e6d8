using Sapo.Core.Models;
using Sapo.Learner.Adapters;

namespace Sapo.Learner.Batches;

/// <summary>Floating-point operations of a model, counting a multiplication and an addition as two, products of matrices alone.</summary>
public static class FlopCount
{
    /// <summary>One forward pass.</summary>
    /// <param name="config">The model.</param>
    /// <param name="tokens">Tokens that pass the layers.</param>
    /// <param name="pairs">Pairs of a token and one that it sees, itself included; sliding windows are not deducted.</param>
    /// <param name="targets">Tokens whose log-prob the head computes.</param>
    public static double Forward(ModelConfig config, double tokens, double pairs, double targets)
    {
        double attention = 2.0 * config.HiddenSize * config.HeadSize * (2 * config.HeadCount + 2 * config.KeyValueHeadCount);
        double dense = 6.0 * config.HiddenSize * config.IntermediateSize;
        double sparse = config.Mixture is { } mixture
            ? 6.0 * config.HiddenSize * mixture.IntermediateSize * mixture.ExpertsPerToken + 2.0 * config.HiddenSize * mixture.Experts
            : 0;
        var sparseLayers = config.Mixture?.SparseLayers.Count(layer => layer) ?? 0;
        return tokens * (config.LayerCount * attention + (config.LayerCount - sparseLayers) * dense + sparseLayers * sparse)
            + pairs * config.LayerCount * 4 * config.HeadCount * config.HeadSize
            + targets * 2 * config.HiddenSize * config.VocabSize;
    }

    /// <summary>Forward and backward pass of packed groups.</summary>
    internal static double Training(ModelConfig config, PackedTokens batch, LowRankAdapter? adapter = null) =>
        Training(config, batch.TokenCount, batch.Groups.Sum(group => Pairs(group, shared: true)), batch.Targets.Length, adapter);

    /// <summary>What the same groups would cost with every prompt repeated.</summary>
    internal static double TrainingWithoutSharing(ModelConfig config, PackedTokens batch, LowRankAdapter? adapter = null) =>
        Training(config, batch.Groups.Sum(group => Rows(group).Sum(row => (double)group.Prompt.Length + row.TokenIds.Length - 1)),
            batch.Groups.Sum(group => Pairs(group, shared: false)), batch.Targets.Length, adapter);

    /// <summary>
    /// The backward pass costs twice the forward pass: a product for the input's gradient and one for the weight's. A frozen weight
    /// saves the latter; the adapter's own products cost what any other do.
    /// </summary>
    private static double Training(ModelConfig config, double tokens, double pairs, double targets, LowRankAdapter? adapter)
    {
        if (adapter is null) return 3 * Forward(config, tokens, pairs, targets);
        var attention = Forward(config, 0, pairs, 0);
        var lowRank = 2 * tokens * adapter.Modules.Sum(module => (module.Inputs + module.Outputs) * module.Rank * ShareOfTokens(config, module.Name));
        return 2 * Forward(config, tokens, pairs, targets) + attention + 3 * lowRank;
    }

    /// <summary>An expert sees the tokens that chose it.</summary>
    private static double ShareOfTokens(ModelConfig config, string module) =>
        config.Mixture is { } mixture && module.Contains(".experts.", StringComparison.Ordinal) ? (double)mixture.ExpertsPerToken / mixture.Experts : 1;

    private static double Pairs(TokenGroup group, bool shared)
    {
        double prompt = group.Prompt.Length, promptPairs = prompt * (prompt + 1) / 2;
        var rows = Rows(group).ToArray();
        var own = rows.Sum(row => (row.TokenIds.Length - 1) * (prompt + row.TokenIds.Length / 2.0));
        return own + (shared ? Math.Min(1, rows.Length) : rows.Length) * promptPairs;
    }

    private static IEnumerable<TokenRow> Rows(TokenGroup group) => group.Rows.Where(row => row.TokenIds.Length > 0);
}

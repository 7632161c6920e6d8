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

    /// <summary>One forward pass of packed groups, an adapter's products included.</summary>
    internal static double Forward(ModelConfig config, PackedTokens batch, LowRankAdapter? adapter) => Forward(config, Work.Of(batch), adapter);

    /// <summary>The same with every prompt repeated.</summary>
    internal static double ForwardWithoutSharing(ModelConfig config, PackedTokens batch, LowRankAdapter? adapter) => Forward(config, Work.WithoutSharing(batch), adapter);

    /// <summary>Forward and backward pass of packed groups.</summary>
    internal static double Training(ModelConfig config, PackedTokens batch, LowRankAdapter? adapter = null) => Training(config, Work.Of(batch), adapter);

    /// <summary>What the same groups would cost with every prompt repeated.</summary>
    internal static double TrainingWithoutSharing(ModelConfig config, PackedTokens batch, LowRankAdapter? adapter = null) => Training(config, Work.WithoutSharing(batch), adapter);

    private static double Forward(ModelConfig config, Work work, LowRankAdapter? adapter) =>
        Forward(config, work.Tokens, work.Pairs, work.Targets) + LowRank(config, work, adapter);

    /// <summary>
    /// The backward pass costs twice the forward pass: a product for the input's gradient and one for the weight's. A frozen weight
    /// saves the latter; attention's scores and the adapter's own products cost what they always do. It ends at the lowest layer
    /// that is adapted.
    /// </summary>
    private static double Training(ModelConfig config, Work work, LowRankAdapter? adapter)
    {
        var forward = Forward(config, work.Tokens, work.Pairs, work.Targets);
        if (adapter is null) return 3 * forward;
        var reached = 1 - adapter.Modules.Min(module => module.Layer) / (double)config.LayerCount;
        var inputs = Forward(config, reached * work.Tokens, reached * work.Pairs, work.Targets) + Forward(config, 0, reached * work.Pairs, 0);
        return forward + inputs + 3 * LowRank(config, work, adapter);
    }

    private static double LowRank(ModelConfig config, Work work, LowRankAdapter? adapter) =>
        adapter is null ? 0 : 2 * work.Tokens * adapter.Modules.Sum(module => (module.Inputs + module.Outputs) * module.Rank * ShareOfTokens(config, module.Name));

    /// <summary>An expert sees the tokens that chose it.</summary>
    private static double ShareOfTokens(ModelConfig config, string module) =>
        config.Mixture is { } mixture && module.Contains(".experts.", StringComparison.Ordinal) ? (double)mixture.ExpertsPerToken / mixture.Experts : 1;

    /// <summary>What is computed: see <see cref="Forward(ModelConfig, double, double, double)"/>.</summary>
    private readonly record struct Work(double Tokens, double Pairs, double Targets)
    {
        public static Work Of(PackedTokens batch) => new(batch.TokenCount, batch.Groups.Sum(group => FlopCount.Pairs(group, shared: true)), batch.Targets.Length);

        public static Work WithoutSharing(PackedTokens batch) => new(
            batch.Groups.Sum(group => Rows(group).Sum(row => (double)group.Prompt.Length + row.TokenIds.Length - 1)),
            batch.Groups.Sum(group => FlopCount.Pairs(group, shared: false)), batch.Targets.Length);
    }

    private static double Pairs(TokenGroup group, bool shared)
    {
        double prompt = group.Prompt.Length, promptPairs = prompt * (prompt + 1) / 2;
        var rows = Rows(group).ToArray();
        var own = rows.Sum(row => (row.TokenIds.Length - 1) * (prompt + row.TokenIds.Length / 2.0));
        return own + (shared ? Math.Min(1, rows.Length) : rows.Length) * promptPairs;
    }

    private static IEnumerable<TokenRow> Rows(TokenGroup group) => group.Rows.Where(row => row.TokenIds.Length > 0);
}

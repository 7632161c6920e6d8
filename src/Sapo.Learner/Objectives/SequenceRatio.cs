namespace Sapo.Learner.Objectives;

/// <summary>Ratios of whole completions.</summary>
internal static class SequenceRatio
{
    /// <summary>mean_t z_t of a row's clamped log-ratios; 0 for a row without counted tokens.</summary>
    public static double MeanLog(CountedTokens tokens, int row)
    {
        (int start, int end, int length) = tokens.Row(row);
        double sum = 0;
        for (int token = start; token < end; token++) sum += tokens.LogRatios[token];
        return length == 0 ? 0 : sum / length;
    }

    /// <summary>s = exp(mean_t z_t): the length-normalised ratio of GSPO.</summary>
    public static double GeometricMean(CountedTokens tokens, int row) => Math.Exp(MeanLog(tokens, row));
}

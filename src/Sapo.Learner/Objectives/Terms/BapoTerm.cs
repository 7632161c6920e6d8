namespace Sapo.Learner.Objectives.Terms;

/// <summary>Where a bound of BAPO's search starts, how it moves and where it ends.</summary>
internal sealed record BoundRange(double Start, double Step, double Maximum);

/// <summary>
/// BAPO (arXiv 2510.18927): GRPO's surrogate with ratio bounds found for each mini-batch, so that tokens of positive advantage
/// contribute at least the share <c>target</c>. One bound is raised step by step to its maximum (the last step is cut), then
/// the other; the search stops as soon as the statistic reaches the target. No gradient flows through the bounds.
/// W = r where not clipped, else 0.
/// </summary>
internal sealed class BapoTerm : PolicyTerm
{
    private readonly BoundRange low;
    private readonly BoundRange high;
    private readonly BapoSearch search;
    private readonly double? dualClip;

    /// <param name="low">Range of the lower bound.</param>
    /// <param name="high">Range of the upper bound.</param>
    /// <param name="search">How contributions are counted, and when to stop.</param>
    /// <param name="dualClip">As in <see cref="RatioClip"/>.</param>
    public BapoTerm(BoundRange low, BoundRange high, BapoSearch search, double? dualClip) =>
        (this.low, this.high, this.search, this.dualClip) = (low, high, search, dualClip);

    /// <inheritdoc />
    public override string Name => "bapo";

    /// <inheritdoc />
    public override ObjectiveScope Scope => ObjectiveScope.MiniBatch;

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        double[] ratios = Array.ConvertAll(tokens.LogRatios, Math.Exp);
        double[]? samplerLogProbs = search.SamplerWeighted ? tokens.Needed("sampler's log-prob", batch => batch.SamplerLogProbs, Name) : null;
        BapoBounds bounds = search.Find(low, high, ratios, tokens.Advantages, samplerLogProbs);
        var clip = new RatioClip(bounds.Low, bounds.High, dualClip);
        for (int token = 0; token < tokens.Count; token++)
            terms.Set(token, clip.At(ratios[token], tokens.Advantages[token]).Inside(tokens.InsideClamp[token]));
        terms.Metrics["boundLow"] = bounds.Low;
        terms.Metrics["boundHigh"] = bounds.High;
        terms.Metrics["positiveContribution"] = bounds.Statistic;
        terms.Metrics["positiveContributionAtStart"] = bounds.StatisticAtStart;
        terms.Metrics["boundRaises"] = bounds.Raises;
    }
}

/// <summary>What BAPO's search found.</summary>
internal readonly record struct BapoBounds(double Low, double High, double Statistic, double StatisticAtStart, int Raises);

/// <summary>BAPO's search for ratio bounds.</summary>
/// <param name="HighFirst">Raise the upper bound first (paper), else the lower one (published code).</param>
/// <param name="OverTotal">Statistic positive/total (paper), else positive/negative (published code).</param>
/// <param name="GradientOnly">Count only tokens that carry a gradient; else the value of the clipped term (paper).</param>
/// <param name="SamplerWeighted">Weigh each contribution by the sampler's probability (paper).</param>
/// <param name="Target">The search stops at statistic &gt;= target.</param>
internal sealed record BapoSearch(bool HighFirst, bool OverTotal, bool GradientOnly, bool SamplerWeighted, double Target)
{
    /// <summary>Runs the search over the whole mini-batch.</summary>
    public BapoBounds Find(BoundRange low, BoundRange high, double[] ratios, double[] advantages, double[]? samplerLogProbs)
    {
        double boundLow = low.Start, boundHigh = high.Start;
        double Statistic() => StatisticOf(boundLow, boundHigh, ratios, advantages, samplerLogProbs);
        double atStart = Statistic(), statistic = atStart;
        int raises = 0;
        foreach (bool raiseHigh in HighFirst ? [true, false] : new[] { false, true })
        {
            BoundRange range = raiseHigh ? high : low;
            while (statistic < Target && (raiseHigh ? boundHigh : boundLow) < range.Maximum)
            {
                if (raiseHigh) boundHigh = Math.Min(boundHigh + range.Step, range.Maximum);
                else boundLow = Math.Min(boundLow + range.Step, range.Maximum);
                raises++;
                statistic = Statistic();
            }
        }
        return new(boundLow, boundHigh, statistic, atStart, raises);
    }

    private double StatisticOf(double low, double high, double[] ratios, double[] advantages, double[]? samplerLogProbs)
    {
        double positive = 0, negative = 0;
        var clip = new RatioClip(low, high);
        for (int token = 0; token < ratios.Length; token++)
        {
            double advantage = advantages[token];
            if (advantage == 0) continue;
            TokenTerm term = clip.At(ratios[token], advantage);
            double contribution = Math.Abs(GradientOnly ? term.Slope : term.Value) * (samplerLogProbs is null ? 1 : Math.Exp(samplerLogProbs[token]));
            if (advantage > 0) positive += contribution;
            else negative += contribution;
        }
        if (OverTotal) return negative == 0 ? 1 : positive / (positive + negative);
        return negative == 0 ? double.PositiveInfinity : positive / negative;
    }
}

using Sapo.Core;

namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// R2VPO (arXiv 2601.03320), the Lagrangian form implied by its abstract: x = r A - lambda (r - 1)^2, J += lambda delta, and
/// after each optimizer step lambda moves by dualStep * (mean over all counted tokens of (r - 1)^2 - delta), never below 0.
/// dx/dz = r (A - 2 lambda (r - 1)): not proportional to A, so completions with A = 0 are pulled back to r = 1; W is reported
/// as dx/dz / A, and 0 where A = 0.
/// </summary>
internal sealed class R2vpoTerm(double lambda, double delta, double dualStep) : PolicyTerm
{
    private const string LambdaState = "lambda";
    private const string VarianceMetric = "meanSquaredRatioDeviation";

    private double dual = lambda;

    /// <inheritdoc />
    public override string Name => "r2vpo";

    /// <inheritdoc />
    public override ObjectiveNeeds Needs => ObjectiveNeeds.SilentRows;

    /// <inheritdoc />
    public override IReadOnlyDictionary<string, double> State => new Dictionary<string, double>(StringComparer.Ordinal) { [LambdaState] = dual };

    /// <inheritdoc />
    public override void Restore(IReadOnlyDictionary<string, double> state) => dual = state.TryGetValue(LambdaState, out double saved) && saved is >= 0 and < double.PositiveInfinity
        ? saved
        : throw new UserErrorException("The checkpoint's objective state has no usable lambda", "a number of 0 or more", "Go on from a checkpoint of an r2vpo run");

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        double squares = 0;
        int flipped = 0;
        for (int token = 0; token < tokens.Count; token++)
        {
            double advantage = tokens.Advantages[token];
            double ratio = Math.Exp(tokens.LogRatios[token]), deviation = ratio - 1;
            double effective = advantage - 2 * dual * deviation;
            double slope = tokens.InsideClamp[token] ? ratio * effective : 0;
            terms.Set(token, new TokenTerm(ratio * advantage - dual * deviation * deviation, slope, advantage == 0 ? 0 : slope / advantage));
            squares += deviation * deviation;
            if (effective * advantage < 0) flipped++;
        }
        double tokenShare = tokens.Totals.Tokens == 0 ? 0 : 1.0 / tokens.Totals.Tokens;
        double rowShare = tokens.Totals.Sequences == 0 ? 0 : (double)tokens.Rows / tokens.Totals.Sequences;
        terms.Offset = dual * delta * rowShare;
        terms.Metrics[VarianceMetric] = squares * tokenShare;
        terms.Metrics["signFlippedFraction"] = flipped * tokenShare;
        terms.Metrics[LambdaState] = dual * tokenShare * tokens.Count;
    }

    /// <inheritdoc />
    public override void Advance(IReadOnlyDictionary<string, double> metrics) =>
        dual = Math.Max(0, dual + dualStep * (metrics[VarianceMetric] - delta));
}

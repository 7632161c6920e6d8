using Sapo.Learner.Model;

namespace Sapo.Learner.Optimization;

/// <summary>One optimizer step as reported.</summary>
/// <param name="GradientNorm">Before clipping.</param>
/// <param name="SkippedFor">Null, or the tensor whose gradient was not finite.</param>
internal readonly record struct UpdateResult(double GradientNorm, string? SkippedFor);

/// <summary>Gradients -> clipping -> AdamW -> zero gradients. A gradient that is not finite updates nothing; three in a row stop the run.</summary>
internal sealed class ParameterUpdate(FlatParameters parameters, AdamWOptions options) : IDisposable
{
    private const int MaxSkipsInARow = 3;

    /// <summary>The optimizer, for checkpoints.</summary>
    public AdamW Optimizer { get; } = new(parameters.Values, parameters.Gradients, parameters.DecayedCount, options);

    /// <summary>Steps skipped so far.</summary>
    public long Skipped { get; set; }

    /// <summary>Steps skipped since the last one that updated something.</summary>
    public long SkippedInARow { get; set; }

    /// <summary>Uses up the gradients.</summary>
    /// <exception cref="TrainingDivergedException">Nothing could be updated three times in a row.</exception>
    public UpdateResult Apply(double learningRate)
    {
        var norm = GradientClip.Norm(parameters.Gradients);
        string? skippedFor = null;
        if (double.IsFinite(norm))
        {
            Optimizer.Step(learningRate, GradientClip.Factor(norm, options.MaxGradientNorm));
            SkippedInARow = 0;
        }
        else
        {
            skippedFor = GradientClip.FirstNonFinite(parameters);
            Skipped++;
            if (++SkippedInARow == MaxSkipsInARow)
                throw new TrainingDivergedException(
                    $"The gradient was not finite {MaxSkipsInARow} times in a row, the last time in {skippedFor}. Nothing was updated. Lower the learning rate or go back to an earlier checkpoint.");
        }
        parameters.Gradients.zero_();
        return new UpdateResult(norm, skippedFor);
    }

    /// <inheritdoc />
    public void Dispose() => Optimizer.Dispose();
}

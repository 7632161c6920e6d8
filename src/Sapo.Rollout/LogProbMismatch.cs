using Sapo.Core.Models;

namespace Sapo.Rollout;

/// <summary>How far an engine's log-probs lie from those of the same weights in 32 bits, over the tokens of probe sequences.</summary>
/// <param name="Tokens">Number of tokens compared.</param>
/// <param name="MeanAbsolute">Mean of |engine - reference|, in nats.</param>
/// <param name="MaxAbsolute">The largest, in nats.</param>
/// <param name="KlNats">Mean of exp(d) - 1 - d with d = engine - reference (k3); where the reference sampled the tokens, an estimate of KL(reference || engine) per token.</param>
public sealed record LogProbMismatch(int Tokens, double MeanAbsolute, double MaxAbsolute, double KlNats);

/// <summary>How far an engine's log-probs may lie from the learner's before a version is refused.</summary>
/// <param name="Mean">Most for the mean difference, in nats.</param>
/// <param name="Max">Most for any token, in nats.</param>
public sealed record ProbeTolerance(double Mean, double Max)
{
    /// <summary>The tolerance of a precision.</summary>
    /// <remarks>
    /// In 32 bits two sound implementations differ by 1e-6 to 1e-5 through the order of their sums, and a stale, swapped or misread tensor moves log-probs by far more
    /// than 1e-3. Rounded weights move every log-prob, unlikely tokens' most, so only the mean is bounded: by a few times what small models show (docs/numerics.md; larger ones
    /// suffer less), which a misread tensor still exceeds.
    /// </remarks>
    public static ProbeTolerance Of(Precision precision) => precision switch
    {
        Precision.Int8 => new(0.3, double.MaxValue),
        Precision.Int4 => new(2, double.MaxValue),
        Precision.Fp16 => new(0.03, double.MaxValue),
        Precision.Bf16 => new(0.25, double.MaxValue),
        _ => new(1e-4, 1e-4),
    };

    /// <summary>Whether a mismatch is within it.</summary>
    public bool Holds(LogProbMismatch mismatch) => mismatch.MeanAbsolute <= Mean && mismatch.MaxAbsolute <= Max;

    /// <inheritdoc />
    public override string ToString() => Max < double.MaxValue ? $"{Max:G3}" : $"{Mean:G3} on average";
}

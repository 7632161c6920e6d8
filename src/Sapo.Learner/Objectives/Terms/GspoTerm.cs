namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// GSPO (arXiv 2507.18071): one ratio per completion, s = exp(mean_t z_t), clipped as a whole:
/// x = min(s A, clip(s, 1 - clipLow, 1 + clipHigh) A) for every token of the row; the gradient flows through s.
/// W = s where the completion is not clipped, else 0: the same for all its tokens.
/// </summary>
internal sealed class GspoTerm(RatioClip clip) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => "gspo";

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        terms.Sensitivities = Array.ConvertAll(tokens.InsideClamp, inside => inside ? 1.0 : 0.0);
        for (int row = 0; row < tokens.Rows; row++)
        {
            (int start, int end, int length) = tokens.Row(row);
            if (length == 0) continue;
            double ratio = SequenceRatio.GeometricMean(tokens, row);
            for (int token = start; token < end; token++)
            {
                TokenTerm term = clip.At(ratio, tokens.Advantages[token]);
                terms.Set(token, term with { Weight = term.Weight * terms.Sensitivities[token] });
            }
        }
    }
}

/// <summary>
/// GSPO-token (arXiv 2507.18071): as GSPO, with s_t = sg[s] * pi_t / sg[pi_t], so that each token may have an advantage of
/// its own and the gradient of a token's term reaches that token alone. Equal to GSPO for one advantage per completion.
/// </summary>
internal sealed class GspoTokenTerm(RatioClip clip) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => "gspo-token";

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        for (int row = 0; row < tokens.Rows; row++)
        {
            (int start, int end, int length) = tokens.Row(row);
            if (length == 0) continue;
            double ratio = SequenceRatio.GeometricMean(tokens, row);
            for (int token = start; token < end; token++)
                terms.Set(token, clip.At(ratio, tokens.Advantages[token]).Inside(tokens.InsideClamp[token]));
        }
    }
}

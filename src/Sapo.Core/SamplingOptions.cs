namespace Sapo.Core;

/// <summary>How tokens are drawn. The defaults draw from the whole distribution at temperature 1, which is what training wants.</summary>
public sealed record SamplingOptions
{
    private const double MaxPenalty = 2; // as in OpenAI's API

    /// <summary>Divides the logits, 0 or more; 0 takes the most likely token. Default 1.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Keep the k most likely tokens; 0 keeps all. Default 0.</summary>
    public int TopK { get; init; }

    /// <summary>Keep the smallest set of most likely tokens whose probabilities reach this sum, above 0 and at most 1. Default 1 keeps all.</summary>
    public double TopP { get; init; } = 1;

    /// <summary>Keep tokens at least this share as likely as the most likely one, 0 to 1. Default 0 keeps all.</summary>
    public double MinP { get; init; }

    /// <summary>
    /// Applies min-p before top-k and top-p, as vLLM does, so that top-p takes its share of what min-p left. Default false: behind
    /// them, as Hugging Face transformers does. Says something only where both min-p and top-p are on.
    /// </summary>
    public bool MinPFirst { get; init; }

    /// <summary>
    /// Divides the logit of every token that prompt or completion hold already where it is positive and multiplies it where it is
    /// negative, once however often the token occurs; above 0. Default 1 changes nothing. All penalties come before the temperature, in
    /// the order repetition, frequency, presence, and are part of every log-prob; a learner that does not know of them is biased by them.
    /// </summary>
    public double RepetitionPenalty { get; init; } = 1;

    /// <summary>Taken from a token's logit once for every time the completion holds it, -2 to 2. Default 0. The prompt does not count.</summary>
    public double FrequencyPenalty { get; init; }

    /// <summary>Taken from a token's logit when the completion holds it, -2 to 2. Default 0. The prompt does not count.</summary>
    public double PresencePenalty { get; init; }

    /// <summary>Most tokens per completion, stop token included; at least 1. Default 256.</summary>
    public int MaxNewTokens { get; init; } = 256;

    /// <summary>The seed of the counter-based random numbers. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Ids that end a completion; null takes the model's own end-of-sequence ids.</summary>
    public IReadOnlyList<int>? StopTokenIds { get; init; }

    /// <summary>Texts that end a completion as soon as they appear in it.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>True when some tokens are excluded from the draw, so that the behaviour log-prob is that of a renormalised distribution.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public bool Truncates => Temperature > 0 && (TopK > 0 || TopP < 1 || MinP > 0);

    /// <summary>True when logits depend on which tokens were there before.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public bool Penalises => RepetitionPenalty != 1 || FrequencyPenalty != 0 || PresencePenalty != 0;

    /// <summary>Checks every value once, at the edge.</summary>
    /// <exception cref="UserErrorException">A value is out of its range.</exception>
    public SamplingOptions Validated()
    {
        Check(double.IsFinite(Temperature) && Temperature >= 0, "temperature", Temperature, "a finite number, 0 or more");
        Check(TopK >= 0, "topK", TopK, "0 (all tokens) or a positive number");
        Check(TopP > 0 && TopP <= 1, "topP", TopP, "above 0 and at most 1");
        Check(MinP >= 0 && MinP <= 1, "minP", MinP, "0 to 1");
        Check(!MinPFirst || (MinP > 0 && TopP < 1), "minPFirst", "true", "false unless minP and topP both cut: without the two there is no order between them");
        Check(double.IsFinite(RepetitionPenalty) && RepetitionPenalty > 0, "repetitionPenalty", RepetitionPenalty, "a finite number above 0");
        Check(FrequencyPenalty is >= -MaxPenalty and <= MaxPenalty, "frequencyPenalty", FrequencyPenalty, "-2 to 2");
        Check(PresencePenalty is >= -MaxPenalty and <= MaxPenalty, "presencePenalty", PresencePenalty, "-2 to 2");
        Check(MaxNewTokens >= 1, "maxNewTokens", MaxNewTokens, "at least 1");
        foreach (var text in StopStrings) Check(text.Length > 0, "stopStrings", "an empty text", "texts of at least one character");
        return this;
    }

    private static void Check(bool holds, string name, object value, string expected)
    {
        if (!holds) throw new UserErrorException($"{name} is {value}", expected, "Correct the sampling options");
    }
}

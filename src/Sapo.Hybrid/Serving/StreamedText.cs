using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Serving;

/// <summary>
/// The text of one completion as its tokens come in. Handed out is only what nothing that follows can change: no half
/// character, and nothing that may turn out to begin a stop string. A stop string and what follows it never come out.
/// </summary>
/// <param name="tokenizer">The model's tokenizer.</param>
/// <param name="stopStrings">Where the text ends; possibly none.</param>
internal sealed class StreamedText(HuggingFaceTokenizer tokenizer, IReadOnlyList<string> stopStrings)
{
    private readonly StreamingDecoder _decoder = tokenizer.CreateStreamingDecoder(skipSpecialTokens: true);
    private string _held = "";

    /// <summary>Characters so far, those held back and those of a stop string included: where the next token's text begins.</summary>
    public int Length { get; private set; }

    /// <summary>Whether a stop string was found.</summary>
    public bool IsStopped { get; private set; }

    /// <summary>Takes in a token; an id the tokenizer does not know (a model may have more rows than it) counts as U+FFFD.</summary>
    /// <returns>The text that is certain now and was not before.</returns>
    public string Append(int id) => Take(_decoder.Append(id), isEnd: false);

    /// <summary>Ends the text.</summary>
    /// <returns>What was held back.</returns>
    public string Finish() => Take(_decoder.Flush(), isEnd: true);

    private string Take(string added, bool isEnd)
    {
        Length += added.Length;
        if (IsStopped) return "";
        var text = _held + added;
        var stop = stopStrings.Select(stop => text.IndexOf(stop, StringComparison.Ordinal)).Where(index => index >= 0).DefaultIfEmpty(-1).Min();
        IsStopped = stop >= 0;
        var certain = IsStopped ? stop : isEnd ? text.Length : text.Length - BeginningOfStop(text);
        _held = text[certain..];
        return text[..certain];
    }

    /// <summary>Length of the longest end of the text that begins a stop string.</summary>
    private int BeginningOfStop(string text)
    {
        if (stopStrings.Count == 0) return 0;
        for (var length = Math.Min(text.Length, stopStrings.Max(stop => stop.Length) - 1); length > 0; length--)
            if (stopStrings.Any(stop => stop.AsSpan().StartsWith(text.AsSpan(text.Length - length), StringComparison.Ordinal))) return length;
        return 0;
    }
}

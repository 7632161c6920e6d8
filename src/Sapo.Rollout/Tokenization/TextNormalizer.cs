namespace Sapo.Rollout.Tokenization;

/// <summary>
/// The normalizer of tokenizer.json, applied to the text between added tokens: NFC, Prepend, Replace (of a fixed
/// string), or a Sequence of them. Safe for use by many threads.
/// </summary>
internal sealed class TextNormalizer
{
    private readonly Func<string, string>[] _steps;

    private TextNormalizer(IEnumerable<Func<string, string>> steps) => _steps = [.. steps];

    /// <summary>Reads <c>normalizer</c>; none leaves the text as it is.</summary>
    public static TextNormalizer Read(JsonValue? section) => new(section is { } value ? Steps(value) : []);

    /// <summary>The normalised text.</summary>
    public string Normalize(string text)
    {
        foreach (var step in _steps) text = step(text);
        return text;
    }

    private static IEnumerable<Func<string, string>> Steps(JsonValue value)
    {
        var type = value.Member("type").AsString();
        switch (type)
        {
            case "Sequence":
                return value.Member("normalizers").Items().SelectMany(Steps).ToList();
            case "NFC":
                return [CanonicalComposition.Normalize];
            case "Prepend":
                var prefix = value.Member("prepend").AsString();
                return [text => text.Length == 0 ? text : prefix + text];
            case "Replace":
                var pattern = value.Member("pattern");
                var found = pattern.String("String") ?? throw pattern.Unsupported("a Replace normalizer with a regular expression", "one with a fixed string");
                var content = value.Member("content").AsString();
                if (found.Length == 0) throw pattern.Error("String is empty", "the text to replace");
                return [text => text.Replace(found, content, StringComparison.Ordinal)];
            default:
                throw value.Unsupported($"a normalizer of type {type}", "NFC, Prepend, Replace or a Sequence of them");
        }
    }
}

namespace Sapo.Rollout.Tokenization;

/// <summary>
/// The post_processor of tokenizer.json, for one sequence: the ids it puts before and behind a text's own when special
/// tokens are asked for. ByteLevel changes offsets only and so adds nothing.
/// </summary>
/// <param name="Before">Ids put first.</param>
/// <param name="Behind">Ids put last.</param>
internal sealed record PostProcessor(int[] Before, int[] Behind)
{
    /// <summary>Reads <c>post_processor</c>; none adds nothing.</summary>
    /// <param name="section">The member, if there.</param>
    /// <param name="isKnown">Whether an id belongs to the vocabulary.</param>
    public static PostProcessor Read(JsonValue? section, Func<int, bool> isKnown)
    {
        if (section is not { } value) return new PostProcessor([], []);
        var type = value.Member("type").AsString();
        switch (type)
        {
            case "ByteLevel":
                return new PostProcessor([], []);
            case "Sequence":
                return value.Member("processors").Items().Select(item => Read(item, isKnown)).Aggregate(
                    new PostProcessor([], []), (inner, outer) => new PostProcessor([.. outer.Before, .. inner.Before], [.. inner.Behind, .. outer.Behind]));
            case "TemplateProcessing":
                return ReadTemplate(value, isKnown);
            default:
                throw value.Unsupported($"a post-processor of type {type}", "TemplateProcessing, ByteLevel or a Sequence of them");
        }
    }

    private static PostProcessor ReadTemplate(JsonValue value, Func<int, bool> isKnown)
    {
        List<int> before = [], behind = [];
        var textSeen = false;
        foreach (var item in value.Member("single").Items())
        {
            if (item.Find("Sequence") is { } sequence)
            {
                if (textSeen || sequence.Member("id").AsString() != "A") throw item.Error("a template for one text names another text", "the sequence A, once");
                textSeen = true;
                continue;
            }
            var name = item.Member("SpecialToken").Member("id").AsString();
            foreach (var id in value.Member("special_tokens").Member(name).Member("ids").Items())
            {
                if (!isKnown(id.AsCount())) throw id.Error($"{id.AsCount()} is no id of the vocabulary", "the id of a token");
                (textSeen ? behind : before).Add(id.AsCount());
            }
        }
        return textSeen ? new PostProcessor([.. before], [.. behind]) : throw value.Error("single has no place for the text", "a Sequence with id A");
    }
}

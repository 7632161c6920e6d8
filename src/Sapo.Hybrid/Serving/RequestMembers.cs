// The members of a request by their kind. A member that would change the answer and is not supported is refused by name,
// never passed over; one that cannot change it (who asks, what for) is passed over; an unknown one is refused with the
// nearest known name, since it is most often a misspelt one.
using System.Text.Json;
using Sapo.Core.Options;

namespace Sapo.Hybrid.Serving;

/// <summary>Typed reading of one request's members; absent and null are the same.</summary>
internal sealed class RequestMembers
{
    private static readonly string[] Harmless =
        ["user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "parallel_tool_calls"];

    // What is not supported, and beside it the values that ask for nothing.
    private static readonly Dictionary<string, string[]> Unsupported = new(StringComparer.Ordinal)
    {
        ["echo"] = ["false"],
        ["best_of"] = ["1"],
        ["suffix"] = ["\"\""],
        ["logit_bias"] = ["{}"],
        ["tools"] = ["[]"],
        ["tool_choice"] = ["\"none\"", "\"auto\""],
        ["functions"] = ["[]"],
        ["function_call"] = ["\"none\"", "\"auto\""],
        ["response_format"] = ["{\"type\":\"text\"}"],
        ["modalities"] = ["[\"text\"]"],
        ["audio"] = [],
        ["prediction"] = [],
        ["reasoning_effort"] = [],
        ["verbosity"] = [],
        ["web_search_options"] = [],
    };

    private readonly JsonElement _request;

    /// <summary>Looks at every member's name.</summary>
    /// <param name="request">The request.</param>
    /// <param name="known">Members this kind of request has.</param>
    /// <exception cref="ServingException">It is no object, or has a member that is not supported or not known.</exception>
    public RequestMembers(JsonElement request, string[] known)
    {
        if (request.ValueKind != JsonValueKind.Object) throw ServingException.BadRequest($"The request is {Kind(request)}; expected an object.");
        _request = request;
        foreach (var member in request.EnumerateObject())
        {
            if (known.Contains(member.Name, StringComparer.Ordinal) || Harmless.Contains(member.Name, StringComparer.Ordinal)) continue;
            if (!Unsupported.TryGetValue(member.Name, out var neutral))
                throw ServingException.BadRequest($"There is no member {member.Name}; the nearest known one is {NearestName.Of(member.Name, [.. known, .. Unsupported.Keys])}.", member.Name, "unknown_parameter");
            if (member.Value.ValueKind != JsonValueKind.Null && !neutral.Contains(WithoutSpaces(member.Value), StringComparer.Ordinal))
                throw ServingException.BadRequest($"{member.Name} is not supported by this server. Leave it out.", member.Name, "unsupported_parameter");
        }
    }

    /// <summary>A member's value, or null.</summary>
    public JsonElement? Find(string name) => _request.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>A member that is true or false.</summary>
    public bool? Flag(string name) => Find(name) switch
    {
        null => null,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } other => throw Wrong(name, other, "true or false"),
    };

    /// <summary>A number within limits.</summary>
    public double? Number(string name, double least, double most)
    {
        if (Find(name) is not { } value) return null;
        var expected = $"a number from {least} to {most}";
        if (value.ValueKind != JsonValueKind.Number || !value.TryGetDouble(out var number) || !(number >= least && number <= most)) throw Wrong(name, value, expected);
        return number;
    }

    /// <summary>A number above 0 and within a limit.</summary>
    public double? Positive(string name, double most)
    {
        var number = Number(name, 0, most);
        return number == 0 ? throw Wrong(name, Find(name)!.Value, $"a number above 0 and at most {most}") : number;
    }

    /// <summary>A whole number within limits.</summary>
    public long? Whole(string name, long least, long most)
    {
        if (Find(name) is not { } value) return null;
        if (value.ValueKind != JsonValueKind.Number || !value.TryGetInt64(out var number) || number < least || number > most)
            throw Wrong(name, value, most == long.MaxValue ? least == long.MinValue ? "a whole number of 64 bits" : $"a whole number, {least} or more" : $"a whole number from {least} to {most}");
        return number;
    }

    /// <summary>The error for a value that is not what was expected.</summary>
    public static ServingException Wrong(string name, JsonElement found, string expected) =>
        ServingException.BadRequest($"{name} is {Kind(found)}; expected {expected}.", name, "invalid_value");

    private static string Kind(JsonElement value)
    {
        var text = value.GetRawText();
        return text.Length <= 60 ? text : value.ValueKind switch
        {
            JsonValueKind.Object => "an object",
            JsonValueKind.Array => "a list",
            _ => text[..57] + "...",
        };
    }

    private static string WithoutSpaces(JsonElement value) => string.Concat(value.GetRawText().Where(character => !char.IsWhiteSpace(character)));
}

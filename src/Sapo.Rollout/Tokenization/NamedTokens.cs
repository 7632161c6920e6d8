using Sapo.Core;

namespace Sapo.Rollout.Tokenization;

/// <summary>
/// The tokens of a Hugging Face folder that have a role. Read from tokenizer_config.json, then special_tokens_map.json
/// where that says nothing; each token must be in the vocabulary.
/// </summary>
public sealed class NamedTokens
{
    private static readonly string[] Roles = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

    private readonly Dictionary<string, string> _texts;
    private readonly Func<string, int?> _idOf;

    private NamedTokens(Dictionary<string, string> texts, Func<string, int?> idOf, IReadOnlyList<int> endIds)
    {
        _texts = texts;
        _idOf = idOf;
        EndIds = endIds;
    }

    /// <summary>Role (such as <c>bos_token</c>) and text of every token that has one; chat templates see them under these names.</summary>
    public IReadOnlyDictionary<string, string> Texts => _texts;

    /// <summary>Id of the token that begins a sequence, or null.</summary>
    public int? BeginId => IdOf("bos_token");

    /// <summary>Ids that end a sequence: the tokenizer's end token first, then those of generation_config.json. Possibly none.</summary>
    public IReadOnlyList<int> EndIds { get; }

    /// <summary>Id that fills padded positions, or null. It may be an end id too.</summary>
    public int? PadId => IdOf("pad_token");

    /// <summary>Reads the roles that a folder's files give.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="idOf">A token's id by its text, or null.</param>
    /// <param name="isKnown">Whether an id belongs to the vocabulary.</param>
    internal static NamedTokens Read(string folder, Func<string, int?> idOf, Func<int, bool> isKnown)
    {
        var textOfRole = ReadTexts(folder, (text, place) =>
        {
            if (idOf(text) is null) throw place.Error($"\"{text}\" is not in the vocabulary", "a token of tokenizer.json");
        });
        var ends = new List<int>();
        if (textOfRole.TryGetValue("eos_token", out var end)) ends.Add(idOf(end)!.Value);
        var generation = Path.Combine(folder, "generation_config.json");
        if (File.Exists(generation)) ends.AddRange(JsonValue.Read(generation, root => EndIdsOf(root, isKnown)));
        return new NamedTokens(textOfRole, idOf, [.. ends.Distinct()]);
    }

    /// <summary>Role and text of every token that a folder's files give a role.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="check">Sees each text and where it stands; null checks nothing.</param>
    internal static Dictionary<string, string> ReadTexts(string folder, Action<string, JsonValue>? check = null)
    {
        var textOfRole = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var name in new[] { "tokenizer_config.json", "special_tokens_map.json" })
        {
            var path = Path.Combine(folder, name);
            if (File.Exists(path)) JsonValue.Read(path, root => { AddRoles(root); return true; });
        }
        return textOfRole;

        void AddRoles(JsonValue root)
        {
            foreach (var role in Roles)
                if (root.Find(role) is { } token && textOfRole.TryAdd(role, token.AsTokenText())) check?.Invoke(textOfRole[role], token);
        }
    }

    private int? IdOf(string role) => _texts.TryGetValue(role, out var text) ? _idOf(text) : null;

    private static List<int> EndIdsOf(JsonValue root, Func<int, bool> isKnown)
    {
        if (root.Find("eos_token_id") is not { } value) return [];
        List<JsonValue> values = value.Element.ValueKind == System.Text.Json.JsonValueKind.Array ? [.. value.Items()] : [value];
        foreach (var id in values)
            if (!isKnown(id.AsCount())) throw id.Error($"{id.AsCount()} is no id of the vocabulary", "the id of a token of tokenizer.json");
        return [.. values.Select(id => id.AsCount())];
    }
}

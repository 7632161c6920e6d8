// A run file's JSON -> RunOptions. The file is walked beside the types' own metadata before it is deserialised, so that a
// misspelt member is reported with its path and the nearest member there is; then values are checked once.
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Sapo.Core.Options;

/// <summary>Reads, checks and writes run files.</summary>
public static class RunOptionsReader
{
    /// <summary>
    /// Types are looked at at run time: generated code sets an init-only member that the file leaves out to default(T),
    /// and the defaults written in the records would be lost.
    /// </summary>
    private static readonly JsonSerializerOptions Format = new()
    {
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { LeaveOutForeignKnobs } },
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        ReadCommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
        AllowOutOfOrderMetadataProperties = true,
        RespectNullableAnnotations = true,
    };

    private static JsonTypeInfo<RunOptions> RunType => (JsonTypeInfo<RunOptions>)Format.GetTypeInfo(typeof(RunOptions));

    /// <summary>Reads a run file. Comments and trailing commas are allowed; relative paths in it are relative to its folder.</summary>
    /// <exception cref="UserErrorException">The file is missing, is not JSON, names an unknown member or holds a value
    /// that is not allowed.</exception>
    public static RunOptions Read(string path)
    {
        if (Directory.Exists(path))
            throw new UserErrorException($"{path} is a folder", "a run file such as runs/quickstart.json", "Name the file");
        if (!File.Exists(path))
            throw new UserErrorException($"{path} does not exist", "a run file such as runs/quickstart.json", "Check the path");
        var options = Parse(File.ReadAllBytes(path), path);
        return WithFullPaths(options, Path.GetDirectoryName(Path.GetFullPath(path))!);
    }

    /// <summary>Reads a run file's content.</summary>
    /// <param name="json">UTF-8.</param>
    /// <param name="path">Named in errors.</param>
    /// <exception cref="UserErrorException">See <see cref="Read"/>.</exception>
    public static RunOptions Parse(ReadOnlySpan<byte> json, string path)
    {
        var content = json.ToArray();
        if (content.AsSpan().StartsWith("\uFEFF"u8)) content = content[3..];
        try
        {
            using (var document = JsonDocument.Parse(content, new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, AllowDuplicateProperties = false }))
            {
                if (document.RootElement.ValueKind is not (JsonValueKind.Object or JsonValueKind.Null))
                    throw new UserErrorException($"{path} holds {document.RootElement.ValueKind switch { JsonValueKind.Array => "a list", JsonValueKind.String => "a text", _ => "a single value" }}", "an object", "Correct the run file");
                CheckMembers(document.RootElement, RunType, "", path);
            }
            var options = JsonSerializer.Deserialize(content, RunType)
                ?? throw new UserErrorException($"{path} holds null", "an object", "Correct the run file");
            return options.Validated();
        }
        catch (JsonException broken)
        {
            throw new UserErrorException($"{path}: {Describe(broken)}", null, "Correct the run file", broken);
        }
        catch (UserErrorException wrong) when (!wrong.Message.StartsWith(path, StringComparison.Ordinal))
        {
            throw new UserErrorException(
                $"{path}: {wrong.Message.TrimEnd('.')}", null, "See docs/guide.md for every member and its default", wrong);
        }
    }

    /// <summary>The options as a run file with every default spelled out, indented, ending with a line feed.</summary>
    public static string Resolved(RunOptions options) => JsonSerializer.Serialize(options, RunType) + "\n";

    /// <summary>The first member in which two runs differ, as <c>path: mine here, other there</c>; null if all are equal.</summary>
    public static string? FirstDifference(RunOptions mine, RunOptions other)
    {
        using var left = JsonSerializer.SerializeToDocument(mine, RunType);
        using var right = JsonSerializer.SerializeToDocument(other, RunType);
        return Difference(left.RootElement, right.RootElement, "");
    }

    private static string? Difference(JsonElement left, JsonElement right, string path)
    {
        if (left.ValueKind != JsonValueKind.Object || right.ValueKind != JsonValueKind.Object)
            return JsonElement.DeepEquals(left, right) ? null : $"{path} is {left.GetRawText()}, there {right.GetRawText()}";
        foreach (var member in left.EnumerateObject())
        {
            var place = Join(path, member.Name);
            if (!right.TryGetProperty(member.Name, out var other)) return $"{place} is {member.Value.GetRawText()}, there it is not given";
            if (Difference(member.Value, other, place) is { } found) return found;
        }
        return right.EnumerateObject().Select(member => member.Name).FirstOrDefault(name => !left.TryGetProperty(name, out _)) is { } more
            ? $"{Join(path, more)} is not given, there it is"
            : null;
    }

    /// <summary>
    /// Objective and advantage have knobs for every name there is; those that do not belong to the one chosen are null
    /// and not written.
    /// </summary>
    private static void LeaveOutForeignKnobs(JsonTypeInfo type)
    {
        if (type.Type != typeof(ObjectiveOptions) && type.Type != typeof(AdvantageOptions)) return;
        foreach (var property in type.Properties) property.ShouldSerialize = (_, value) => value is not null;
    }

    /// <summary>The same with every path full; relative ones are relative to <paramref name="folder"/>.</summary>
    public static RunOptions WithFullPaths(RunOptions options, string folder)
    {
        string Full(string path) => Path.GetFullPath(path, folder);
        return options with
        {
            Model = options.Model with { Folder = options.Model.Folder is { } model ? Full(model) : null, Adapter = options.Model.Adapter is { } adapter ? Full(adapter) : null },
            Objective = options.Objective.Kl is { Reference: { } reference } kl ? options.Objective with { Kl = kl with { Reference = Full(reference) } } : options.Objective,
            Task = options.Task is JsonlTaskOptions task
                ? task with { Train = Full(task.Train), HeldOut = task.HeldOut is { } heldOut ? Full(heldOut) : null }
                : options.Task,
        };
    }

    private static void CheckMembers(JsonElement element, JsonTypeInfo type, string path, string file)
    {
        if (element.ValueKind != JsonValueKind.Object || type.Kind != JsonTypeInfoKind.Object) return;
        var discriminator = type.PolymorphismOptions?.TypeDiscriminatorPropertyName;
        if (type.PolymorphismOptions is { } polymorphism)
            type = Derived(element, polymorphism, type.Options, path, file);
        foreach (var member in element.EnumerateObject())
        {
            if (string.Equals(member.Name, discriminator, StringComparison.Ordinal)) continue;
            var property = type.Properties.FirstOrDefault(property => string.Equals(property.Name, member.Name, StringComparison.Ordinal));
            if (property is null)
                throw new UserErrorException(
                    $"{file}: unknown member {Join(path, member.Name)}", null, Nearest(
                        member.Name, type.Properties.Select(property => property.Name).Append(discriminator).OfType<string>()));
            CheckMembers(member.Value, type.Options.GetTypeInfo(property.PropertyType), Join(path, member.Name), file);
        }
        if (type.Properties.FirstOrDefault(property => property.IsRequired && !element.TryGetProperty(property.Name, out _)) is { } missing)
            throw new UserErrorException(
                $"{file}: {Join(path, missing.Name)} is missing", null, "Add it; docs/guide.md says what it means");
    }

    private static JsonTypeInfo Derived(
        JsonElement element, JsonPolymorphismOptions polymorphism, JsonSerializerOptions options, string path, string file)
    {
        var place = Join(path, polymorphism.TypeDiscriminatorPropertyName);
        var kinds = string.Join(", ", polymorphism.DerivedTypes.Select(derived => derived.TypeDiscriminator));
        if (!element.TryGetProperty(polymorphism.TypeDiscriminatorPropertyName, out var kind))
            throw new UserErrorException($"{file}: {place} is missing", $"one of {kinds}", "Correct the run file");
        var found = polymorphism.DerivedTypes.FirstOrDefault(
            derived => kind.ValueKind == JsonValueKind.String && derived.TypeDiscriminator is string name && kind.ValueEquals(name));
        if (found.DerivedType is null)
            throw new UserErrorException($"{file}: {place} is {kind.GetRawText()}", $"one of {kinds}", "Correct the run file");
        return options.GetTypeInfo(found.DerivedType);
    }

    private static string Nearest(string name, IEnumerable<string> known) => NearestName.Of(name, known) is { } nearest
        ? $"The nearest known member is {nearest}; docs/guide.md lists all"
        : "This section has no members";

    private static string Describe(JsonException broken)
    {
        var place = broken.Path is { Length: > 2 } path ? path[2..] + " cannot be read" : "it is not a run file";
        var line = broken.LineNumber is { } number ? $" (line {number + 1})" : "";
        var reason = broken.Message.Split(" Path: ")[0].Split(" LineNumber: ")[0].TrimEnd('.');
        return $"{place}{line}: {reason}";
    }

    private static string Join(string path, string name) => path.Length == 0 ? name : $"{path}.{name}";
}

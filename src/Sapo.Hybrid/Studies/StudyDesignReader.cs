using System.Text.Json;
using System.Text.Json.Nodes;
using Sapo.Core;
using Sapo.Core.Options;

namespace Sapo.Hybrid.Studies;

/// <summary>Reads and checks a study's file.</summary>
internal static class StudyDesignReader
{
    private static readonly string[] Members = ["name", "seeds", "run", "compare", "settings"];

    /// <summary>Reads a file. Comments and trailing commas are allowed.</summary>
    /// <exception cref="UserErrorException">It is missing, no JSON, names an unknown member, or holds an empty list, a name twice or a seed twice.</exception>
    public static StudyDesign Read(string path)
    {
        if (!File.Exists(path))
            throw new UserErrorException($"{path} does not exist", "a study's folder, such as runs/study, with a study.json", "Check the path");
        return Parse(File.ReadAllText(path), path);
    }

    /// <summary>Reads a file's content.</summary>
    /// <param name="text">JSON.</param>
    /// <param name="path">Named in errors.</param>
    /// <exception cref="UserErrorException">See <see cref="Read"/>.</exception>
    public static StudyDesign Parse(string text, string path)
    {
        var root = Root(text, path);
        if (root.Select(member => member.Key).FirstOrDefault(name => !Members.Contains(name, StringComparer.Ordinal)) is { } unknown)
            throw Wrong(path, $"unknown member {unknown}", null, $"The nearest known member is {NearestName.Of(unknown, Members)}");
        var run = Member(root, "run", path);
        foreach (var own in (string[])["name", "seed"])
            if (run.ContainsKey(own))
                throw Wrong(path, $"run.{own} is given", "a run file without it", own == "seed" ? "Name the seeds in seeds" : "Name the study in name");
        return new StudyDesign
        {
            Name = Text(root["name"]) ?? throw Wrong(path, "name is missing or no text", "the study's name", "Correct the file"),
            Seeds = Seeds(root["seeds"], path),
            Run = run,
            Compare = Variations(Member(root, "compare", path), "compare", path),
            Settings = [.. Member(root, "settings", path).Select(setting => new Setting(
                setting.Key, Variations(Object(setting.Value, $"settings.{setting.Key}", path), $"settings.{setting.Key}", path)))],
            Text = text,
        };
    }

    private static JsonObject Root(string text, string path)
    {
        try
        {
            var format = new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, AllowDuplicateProperties = false };
            return Object(JsonNode.Parse(text, documentOptions: format), "the file", path);
        }
        catch (JsonException broken)
        {
            throw new UserErrorException($"{path}: it is no study: {broken.Message.TrimEnd('.')}", null, "Correct the file", broken);
        }
    }

    private static JsonObject Member(JsonObject root, string name, string path) => Object(root[name], name, path);

    private static JsonObject Object(JsonNode? node, string name, string path) =>
        node as JsonObject ?? throw Wrong(path, $"{name} is {Found(node)}", "an object", "docs/guide.md has an example");

    private static Variation[] Variations(JsonObject node, string name, string path)
    {
        if (node.Count == 0) throw Wrong(path, $"{name} is empty", "at least one entry, a name with the members of a run file it changes", "Add one");
        foreach (var (entry, changes) in node)
        {
            if (!IsName(entry)) throw Wrong(path, $"{name} has the entry \"{entry}\"", "a name of 1 to 40 letters, digits, dots and hyphens", "Rename it");
            Object(changes, $"{name}.{entry}", path);
        }
        return [.. node.Select(entry => new Variation(entry.Key, entry.Value!.AsObject()))];
    }

    private static List<long> Seeds(JsonNode? node, string path)
    {
        if (node is not JsonArray list || list.Count == 0)
            throw Wrong(path, $"seeds is {Found(node)}", "a list of at least one whole number", "Correct the file");
        var seeds = new List<long>();
        foreach (var item in list)
        {
            if (item is not JsonValue value || !value.TryGetValue(out long seed)) throw Wrong(path, $"seeds holds {Found(item)}", "whole numbers", "Correct the file");
            if (seeds.Contains(seed)) throw Wrong(path, $"seeds holds {seed} twice", "seeds that differ, since equal ones give equal runs", "Remove one");
            seeds.Add(seed);
        }
        return seeds;
    }

    private static string? Text(JsonNode? node) => node is JsonValue value && value.TryGetValue(out string? text) ? text : null;

    private static string Found(JsonNode? node) => node is null ? "missing or null" : node.ToJsonString();

    private static bool IsName(string name) =>
        name.Length is > 0 and <= 40 && name.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '.' or '-');

    private static UserErrorException Wrong(string path, string found, string? expected, string remedy) => new($"{path}: {found}", expected, remedy);
}

using System.CommandLine;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Reports;
using Sapo.Learner.Objectives;

namespace Sapo.Cli.Commands;

internal static class ObjectivesPlotCommand
{
    private const string Page = ".html", Picture = ".svg";

    public static Command Create()
    {
        var output = new Option<string>("--out")
        {
            Description = "A file that ends in .html (a page) or .svg (a picture)", HelpName = "file", DefaultValueFactory = _ => Path.Combine("runs", "out", "objectives.html"),
        };
        var names = new Option<string?>("--names") { Description = "Only these, with commas between them. Default: all", HelpName = "a,b" };
        var command = new ExampleCommand(
            "plot", "Draw the objectives' gradient weights against the importance ratio, for A > 0 and A < 0.",
            "./sapo objectives plot --out weights.svg",
            "./sapo objectives plot --names sapo,grpo,gspo,vespo --out weights.html")
        { output, names };
        command.SetAction(parsed =>
        {
            var path = parsed.GetRequiredValue(output);
            var chosen = Chosen(parsed.GetValue(names));
            var text = Path.GetExtension(path) switch
            {
                Page => WeightSheet.Html(chosen),
                Picture => WeightSheet.Svg(chosen),
                _ => throw new UserErrorException($"--out is {path}", $"a file that ends in {Page} or {Picture}", "Correct the name"),
            };
            Write(path, text);
            Console.WriteLine($"{chosen.Count} objectives in {path}");
            return 0;
        });
        return command;
    }

    private static IReadOnlyList<string> Chosen(string? names)
    {
        if (names is null) return WeightCurves.Drawable;
        string[] chosen = [.. names.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Distinct(StringComparer.Ordinal)];
        if (chosen.Length == 0) throw new UserErrorException("--names is empty", "names of objectives with commas between them", "./sapo objectives lists them");
        foreach (var name in chosen)
        {
            if (!ObjectiveCatalog.All.Any(entry => entry.Name == name))
                throw new UserErrorException(
                    $"--names holds \"{name}\", which is no objective", null,
                    $"The nearest is {NearestName.Of(name, ObjectiveCatalog.All.Select(entry => entry.Name))}; ./sapo objectives lists all");
            if (WeightCurves.Undrawable.TryGetValue(name, out var reason))
                throw new UserErrorException($"{name} cannot be drawn: {reason}", null, "Leave it out");
        }
        return chosen;
    }

    private static void Write(string path, string text)
    {
        try
        {
            if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder) Directory.CreateDirectory(folder);
            AtomicFile.WriteAllBytes(path, System.Text.Encoding.UTF8.GetBytes(text));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"{path} cannot be written: {failure.Message}", "a file in a folder that this user may write to", "Name another one with --out", failure);
        }
    }
}

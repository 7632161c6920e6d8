// study.json -> cells. A study is one run file with members that vary:
//
//   run  +  one level of every setting  +  one entry of compare  +  a seed   =   the run file of one cell
//
// Overrides are merged member by member, in that order. Cells come seed by seed, and within a seed in the order of the
// file, so that whatever has been done after a while is a whole study with fewer seeds.
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Sapo.Core.Options;

namespace Sapo.Hybrid.Studies;

/// <summary>A named change of the run file.</summary>
/// <param name="Name">Letters, digits, dots and hyphens.</param>
/// <param name="Changes">Members of a run file; merged into it.</param>
internal sealed record Variation(string Name, JsonObject Changes);

/// <summary>One thing that is varied, with its levels.</summary>
/// <param name="Name">What it is, for people.</param>
/// <param name="Levels">At least one.</param>
internal sealed record Setting(string Name, IReadOnlyList<Variation> Levels);

/// <summary>One training run of a study.</summary>
internal sealed record StudyCell
{
    /// <summary>Names it within the study; also a file name.</summary>
    public required string Id { get; init; }

    /// <summary>What is compared: the entry's name.</summary>
    public required string Line { get; init; }

    /// <summary>The level of each setting, in their order.</summary>
    public required IReadOnlyList<string> Levels { get; init; }

    /// <summary>The run's seed.</summary>
    public required long Seed { get; init; }

    /// <summary>The run.</summary>
    public required RunOptions Options { get; init; }

    /// <summary>Hash of everything in the study's file that decides this run: a result of another one is not this cell's.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>Hash of what decides the model before reinforcement learning: cells that share it begin alike.</summary>
    public required string ColdStartKey { get; init; }
}

/// <summary>A comparison of runs, as its file describes it. Read by <see cref="StudyDesignReader"/>.</summary>
internal sealed record StudyDesign
{
    /// <summary>The study's name.</summary>
    public required string Name { get; init; }

    /// <summary>The seeds of each combination, all different.</summary>
    public required IReadOnlyList<long> Seeds { get; init; }

    /// <summary>The run file that all cells begin with, without name and seed.</summary>
    public required JsonObject Run { get; init; }

    /// <summary>What is compared: the lines of each chart.</summary>
    public required IReadOnlyList<Variation> Compare { get; init; }

    /// <summary>Under which circumstances: every combination of levels is a chart.</summary>
    public required IReadOnlyList<Setting> Settings { get; init; }

    /// <summary>The file itself, for the report.</summary>
    public required string Text { get; init; }

    /// <summary>Every combination of the settings' levels; the last setting changes fastest.</summary>
    public IReadOnlyList<IReadOnlyList<Variation>> Combinations()
    {
        IReadOnlyList<IReadOnlyList<Variation>> combinations = [[]];
        foreach (var setting in Settings)
            combinations = [.. combinations.SelectMany(levels => setting.Levels.Select(IReadOnlyList<Variation> (level) => [.. levels, level]))];
        return combinations;
    }

    /// <summary>All cells, seed by seed.</summary>
    /// <param name="path">The study's file, named in errors; relative paths in it are relative to its folder.</param>
    /// <exception cref="Core.UserErrorException">A combination is no valid run; the message names it.</exception>
    public IReadOnlyList<StudyCell> Cells(string path) =>
    [
        .. from seed in Seeds
           from levels in Combinations()
           from line in Compare
           select Cell(path, seed, levels, line),
    ];

    private StudyCell Cell(string path, long seed, IReadOnlyList<Variation> levels, Variation line)
    {
        var id = string.Join('_', [$"seed{seed}", .. levels.Select(level => level.Name), line.Name]);
        var run = Run.DeepClone().AsObject();
        foreach (var variation in levels.Append(line)) Merge(run, variation.Changes);
        run["name"] = Name;
        run["seed"] = seed;
        var options = RunOptionsReader.Parse(Encoding.UTF8.GetBytes(run.ToJsonString()), $"{path}, cell {id}");
        return new StudyCell
        {
            Id = id,
            Line = line.Name,
            Levels = [.. levels.Select(level => level.Name)],
            Seed = seed,
            Options = RunOptionsReader.WithFullPaths(options, Path.GetDirectoryName(Path.GetFullPath(path))!),
            Fingerprint = Hash(run.ToJsonString()),
            ColdStartKey = Hash($"{run["model"]?.ToJsonString()} {run["task"]?.ToJsonString()} {run["coldStart"]?.ToJsonString()} {options.Learner.RouterBalance} {seed}"),
        };
    }

    /// <summary>Members that are objects on both sides are merged, all others replaced.</summary>
    private static void Merge(JsonObject target, JsonObject changes)
    {
        foreach (var (name, value) in changes)
            if (value is JsonObject inner && target[name] is JsonObject known) Merge(known, inner);
            else target[name] = value?.DeepClone();
    }

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..16];
}

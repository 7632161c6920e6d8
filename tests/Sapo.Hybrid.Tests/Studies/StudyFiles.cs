using Sapo.Hybrid.Runs;
using Sapo.Hybrid.Studies;

namespace Sapo.Hybrid.Tests.Studies;

/// <summary>Designs and results for tests.</summary>
internal static class StudyFiles
{
    /// <summary>Two seeds, two levels, two lines: eight cells of a run that takes a moment.</summary>
    public const string Design = """
        {
          // a comment
          "name": "tiny",
          "seeds": [1, 2],
          "run": {
            "model": { "create": { "vocabSize": 32, "hiddenSize": 16, "layerCount": 1, "headCount": 1, "keyValueHeadCount": 1, "headSize": 16, "intermediateSize": 16, "maxPositions": 48 } },
            "task": { "kind": "addition" },
            "coldStart": { "steps": 3, "batchSize": 4 },
            "rollout": { "promptsPerStep": 2, "groupSize": 2, "maxNewTokens": 4 },
            "engine": { "slots": 4 },
            "learner": { "miniBatches": 2, "learningRate": 1e-3 },
            "steps": 3,
            "exactStaleness": true,
            "evaluation": { "problems": 4 },
          },
          "compare": { "SAPO": { "objective": { "name": "sapo" } }, "GRPO": { "objective": { "name": "grpo" } } },
          "settings": { "staleness": { "0": { "maxStaleness": 0 }, "1": { "maxStaleness": 1, "learner": { "miniBatches": 1 } } } },
        }
        """;

    public static StudyDesign Parsed(string? text = null) => StudyDesignReader.Parse(text ?? Design, "study.json");

    public static CellResult Result(StudyCell cell, double?[]? rewards = null, double after = 0.5) => Result(cell.Line, cell.Levels, cell.Seed, rewards, after) with
    {
        Cell = cell.Id, Fingerprint = cell.Fingerprint,
    };

    public static CellResult Result(string line, IReadOnlyList<string> levels, long seed, double?[]? rewards = null, double after = 0.5)
    {
        rewards ??= [0.25, 0.5, 0.75];
        double?[] ones = [.. rewards.Select(_ => (double?)1)];
        return new CellResult
        {
            Cell = $"{seed}{line}{string.Join('-', levels)}",
            Fingerprint = "",
            Line = line,
            Levels = levels,
            Seed = seed,
            Before = new ShareWithInterval(0.3, 0.2, 0.4),
            After = new ShareWithInterval(after, after - 0.1, after + 0.1),
            Failure = null,
            Curves = new CellCurves(rewards, ones, ones, ones, ones, ones, ones),
            MeanStaleness = 1.5,
            MaxStaleness = 2,
            SkippedUpdates = 0,
            Seconds = 3,
            Machine = "a machine",
        };
    }
}

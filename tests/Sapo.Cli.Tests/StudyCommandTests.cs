namespace Sapo.Cli.Tests;

public sealed class StudyCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sapo-cli-study-").FullName;

    [Fact]
    public void Study_TwoCells_AreRunAndReportedThenSkipped()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "s"));
        File.WriteAllText(Path.Combine(_folder, "s", "study.json"), """
            {
              "name": "two", "seeds": [1],
              "run": {
                "model": { "create": { "vocabSize": 32, "hiddenSize": 16, "layerCount": 1, "headCount": 1, "keyValueHeadCount": 1, "headSize": 16, "intermediateSize": 16, "maxPositions": 48 } },
                "task": { "kind": "addition" }, "steps": 2, "coldStart": { "steps": 2, "batchSize": 2 },
                "rollout": { "promptsPerStep": 2, "groupSize": 2, "maxNewTokens": 4 }, "engine": { "slots": 4 }, "learner": { "miniBatches": 1 }, "evaluation": { "problems": 4 },
              },
              "compare": { "SAPO": {}, "GRPO": { "objective": { "name": "grpo" } } },
              "settings": {},
            }
            """);
        var (code, output, errors) = SapoProcess.Run(_folder, "study", "s");
        Assert.True(code == 0, output + errors);
        Assert.Contains("2/2 seed1_GRPO: pass@1", output, StringComparison.Ordinal);
        Assert.Contains("2 of 2 cells; report: ", output, StringComparison.Ordinal);
        Assert.Contains("2 runs are finished", File.ReadAllText(Path.Combine(_folder, "s", "report.html")), StringComparison.Ordinal);
        var cells = File.ReadAllText(Path.Combine(_folder, "s", "cells.jsonl"));
        Assert.Contains("2 of 2 cells are finished", SapoProcess.Run(_folder, "study", "s").Output, StringComparison.Ordinal);
        Assert.Equal(cells, File.ReadAllText(Path.Combine(_folder, "s", "cells.jsonl")));
    }

    [Fact]
    public void Plot_ChosenObjectives_AreInThePicture()
    {
        var (code, output, errors) = SapoProcess.Run(_folder, "objectives", "plot", "--names", "sapo,grpo", "--out", "new/weights.svg");
        Assert.True(code == 0, output + errors);
        var picture = File.ReadAllText(Path.Combine(_folder, "new", "weights.svg"));
        Assert.StartsWith("<svg", picture, StringComparison.Ordinal);
        Assert.Contains(">sapo<", picture, StringComparison.Ordinal);
        Assert.DoesNotContain(">cispo<", picture, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("none/study.json does not exist", "study", "none")]
    [InlineData("which is no objective. The nearest is sapo", "objectives", "plot", "--names", "sappo")]
    [InlineData("bapo cannot be drawn: its bounds are searched", "objectives", "plot", "--names", "sapo,bapo")]
    [InlineData("--names is empty", "objectives", "plot", "--names", ",")]
    [InlineData("--out is w.png", "objectives", "plot", "--out", "w.png")]
    [InlineData("/proc/none/w.svg cannot be written", "objectives", "plot", "--out", "/proc/none/w.svg")]
    public void Mistake_IsOneLineAndExitCode2(string message, params string[] arguments)
    {
        var (code, output, errors) = SapoProcess.Run(_folder, arguments);
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.Contains(message, errors, StringComparison.Ordinal);
        Assert.Single(errors.TrimEnd().Split('\n'));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}

using System.Globalization;
using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Hybrid.Memory;

namespace Sapo.Cli.Tests;

/// <summary>What a run will need is known before it begins. Measured in processes of their own: memory belongs to a whole process.</summary>
public sealed class MemoryTests : IDisposable
{
    private const double Tolerance = 0.15; // allocators round, keep some of what they get back, and libraries differ

    private readonly string _folder = Directory.CreateTempSubdirectory("sapo-memory-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Train_RunThatDoesNotFit_IsRefusedWithTheNumbers()
    {
        var file = RunFile("large", hidden: 512, layers: 6, members: "\"memoryLimitGiB\": 0.5,");
        var (code, output, errors) = SapoProcess.Run(_folder, "train", file);
        Assert.Equal(2, code);
        foreach (var expected in (string[])["The run needs", "moments", "weights", "gradients", "engine's version", "at most 512 MiB, memoryLimitGiB", "learner.lora"])
            Assert.Contains(expected, errors, StringComparison.Ordinal);
        Assert.Empty(output);
        Assert.False(Directory.Exists(Path.Combine(_folder, "runs")), "a refused run must leave nothing, so that it can be given again with other options");
    }

    [Theory]
    [InlineData(256, 4)]
    [InlineData(512, 8)]
    public async Task Train_PeakMemory_IsAsPredicted(int hidden, int layers)
    {
        var file = RunFile("measured", hidden, layers, members: "");
        var plan = MemoryPreflight.Plan(RunOptionsReader.Read(file));
        using var sapo = SapoProcess.Start(_folder, "train", file);
        long peak = 0;
        while (!sapo.HasExited)
        {
            peak = Math.Max(peak, PeakOf(sapo.Id));
            await Task.Delay(20);
        }
        Assert.True(sapo.WaitForExit() == 0, sapo.Errors);
        Assert.True(Math.Abs(peak - plan.TotalBytes) <= Tolerance * peak, $"measured {MemoryPlan.Size(peak)}, predicted {plan}");
    }

    [Theory]
    [InlineData(4, false)]
    [InlineData(8, true)]
    public void ProfileLearner_PeakMemory_IsAsPredicted(int groups, bool checkpointing)
    {
        string[] arguments = ["profile", "learner", "--shape", "tiny", "--groups", $"{groups}", "--prompt", "64", "--new", "128", "--steps", "1", "--out", _folder];
        var (code, _, errors) = SapoProcess.Run(_folder, checkpointing ? [.. arguments, "--activation-checkpointing"] : arguments);
        Assert.True(code == 0, errors);
        using var profile = JsonDocument.Parse(File.ReadAllText(Path.Combine(_folder, "learner.json")));
        var memory = profile.RootElement.GetProperty("shared").GetProperty("memory");
        var predicted = memory.GetProperty("predicted").GetProperty("totalBytes").GetInt64();
        if (memory.GetProperty("peakBytes").ValueKind == JsonValueKind.Null) return; // this system does not tell
        var peak = memory.GetProperty("peakBytes").GetInt64();
        Assert.True(Math.Abs(peak - predicted) <= Tolerance * peak, $"measured {MemoryPlan.Size(peak)}, predicted {MemoryPlan.Size(predicted)}");
    }

    private string RunFile(string name, int hidden, int layers, string members)
    {
        var file = Path.Combine(_folder, name + ".json");
        File.WriteAllText(file, $$"""
            {
              "name": "{{name}}", "steps": 2, {{members}}
              "model": { "create": { "vocabSize": 4096, "hiddenSize": {{hidden}}, "layerCount": {{layers}}, "headCount": 8, "keyValueHeadCount": 4, "headSize": 64, "intermediateSize": {{3 * hidden}} } },
              "task": { "kind": "addition" },
              "rollout": { "promptsPerStep": 4, "groupSize": 4, "maxNewTokens": 24 },
              "engine": { "slots": 16 }, "learner": { "miniBatches": 2 }, "evaluation": { "problems": 0 },
            }
            """);
        return file;
    }

    /// <summary>Most bytes a process had resident so far; 0 when it has just ended.</summary>
    private static long PeakOf(int process)
    {
        try
        {
            var line = File.ReadLines($"/proc/{process}/status").FirstOrDefault(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
            return line is null ? 0 : 1024 * long.Parse(line["VmHWM:".Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);
        }
        catch (IOException)
        {
            return 0;
        }
    }
}

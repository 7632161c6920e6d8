namespace Sapo.Cli.Tests;

/// <summary>A tiny run, trained once by the command itself, for the tests that use its model.</summary>
public sealed class TrainedRun : IDisposable
{
    public TrainedRun()
    {
        Folder = Directory.CreateTempSubdirectory("sapo-cli-").FullName;
        RunFile = WriteRunFile(Folder, "tiny", steps: 3);
        (ExitCode, Output, Errors) = SapoProcess.Run(Folder, "train", RunFile);
    }

    public string Folder { get; }

    public string RunFile { get; }

    public int ExitCode { get; }

    public string Output { get; }

    public string Errors { get; }

    /// <summary>The default place: runs/out/&lt;name&gt; below the working folder.</summary>
    public string Run => Path.Combine(Folder, "runs", "out", "tiny");

    public string Model => Path.Combine(Run, "final");

    public static string WriteRunFile(string folder, string name, int steps)
    {
        var path = Path.Combine(folder, name + ".json");
        File.WriteAllText(path,
            $$"""
            {
              "name": "{{name}}", "seed": 3, "steps": {{steps}},
              "model": { "create": { "hiddenSize": 16, "layerCount": 1, "headCount": 2, "keyValueHeadCount": 1, "headSize": 16, "intermediateSize": 32, "maxPositions": 48 } },
              "task": { "kind": "addition" },
              "coldStart": { "steps": 20, "batchSize": 8 },
              "rollout": { "promptsPerStep": 4, "groupSize": 2, "maxNewTokens": 12 },
              "engine": { "slots": 8 },
              "learner": { "miniBatches": 2, "learningRate": 1e-3 },
              "evaluation": { "problems": 16 },
            }
            """);
        return path;
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}

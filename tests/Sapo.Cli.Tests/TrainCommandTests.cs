using System.Text.Json;

namespace Sapo.Cli.Tests;

public sealed class TrainCommandTests(TrainedRun run) : IClassFixture<TrainedRun>
{
    [Fact]
    public void Train_SmallRun_SaysWhatItDoesAndWhereItIs()
    {
        Assert.True(run.ExitCode == 0, run.Output + run.Errors);
        foreach (var expected in (string[])["cold start 20/20", "Evaluation before", "step 3/3", "entropy", "engine tok/s", "pass@1 on 16 held-out problems", Path.Combine(run.Run, "report.html"), run.Model])
            Assert.Contains(expected, run.Output, StringComparison.Ordinal);
        Assert.Empty(run.Errors);
    }

    [Fact]
    public void Train_FinishedRun_SaysSoAndLeavesIt()
    {
        var before = File.GetLastWriteTimeUtc(Path.Combine(run.Run, "report.html"));
        var (code, output, _) = SapoProcess.Run(run.Folder, "train", run.RunFile);
        Assert.Equal(0, code);
        Assert.Contains("finished already", output, StringComparison.Ordinal);
        Assert.Equal(before, File.GetLastWriteTimeUtc(Path.Combine(run.Run, "report.html")));
    }

    [Fact]
    public async Task Train_KilledAndStartedAgain_EndsLikeAnUninterruptedRun()
    {
        var file = TrainedRun.WriteRunFile(run.Folder, "killed", steps: 30);
        Assert.Equal(0, SapoProcess.Run(run.Folder, "train", file, "--out", "straight").ExitCode);
        var metrics = Path.Combine(run.Folder, "killed", "metrics.jsonl");
        foreach (var step in (int[])[3, 11])
        {
            using var sapo = SapoProcess.Start(run.Folder, "train", file, "--out", "killed");
            await sapo.WaitUntilAsync(() => Steps(metrics).LastOrDefault() >= step);
            sapo.Kill();
            sapo.WaitForExit();
        }
        var (code, output, errors) = SapoProcess.Run(run.Folder, "train", file, "--out", "killed");
        Assert.True(code == 0, output + errors);
        Assert.Contains("Continuing an interrupted run", output, StringComparison.Ordinal);
        Assert.Equal(Enumerable.Range(1, 30), Steps(metrics));
        Assert.Equal(await Weights("straight"), await Weights("killed"));
    }

    [Fact]
    public async Task Train_KilledInItsColdStartAndStartedAgain_EndsLikeAnUninterruptedRun()
    {
        var file = TrainedRun.WriteRunFile(run.Folder, "cold", steps: 2);
        File.WriteAllText(file, File.ReadAllText(file).Replace("\"steps\": 20", "\"steps\": 500", StringComparison.Ordinal));
        Assert.Equal(0, SapoProcess.Run(run.Folder, "train", file, "--out", "cold-straight").ExitCode);
        var checkpoints = Path.Combine(run.Folder, "cold-killed", "checkpoints");
        using (var sapo = SapoProcess.Start(run.Folder, "train", file, "--out", "cold-killed"))
        {
            await sapo.WaitUntilAsync(() => Directory.Exists(checkpoints) && Directory.GetDirectories(checkpoints, "coldstart-??????").Length > 0);
            sapo.Kill();
            sapo.WaitForExit();
        }
        var (code, output, errors) = SapoProcess.Run(run.Folder, "train", file, "--out", "cold-killed");
        Assert.True(code == 0, output + errors);
        Assert.Contains("Continuing an interrupted cold start", output, StringComparison.Ordinal);
        Assert.Equal(await Weights("cold-straight"), await Weights("cold-killed"));
    }

    [Fact]
    public async Task Train_AsynchronousRunKilledAndStartedAgain_TrainsOnEveryPromptOnceAndInOrder()
    {
        const int Steps = 24, PromptsPerStep = 4;
        var file = TrainedRun.WriteRunFile(run.Folder, "ahead", steps: Steps);
        File.WriteAllText(file, File.ReadAllText(file).Replace("\"seed\": 3", "\"seed\": 3, \"maxStaleness\": 3", StringComparison.Ordinal));
        var folder = Path.Combine(run.Folder, "ahead");
        foreach (var step in (int[])[3, 10])
        {
            using var sapo = SapoProcess.Start(run.Folder, "train", file, "--out", folder);
            await sapo.WaitUntilAsync(() => TrainCommandTests.Steps(Path.Combine(folder, "metrics.jsonl")).LastOrDefault() >= step);
            sapo.Kill();
            sapo.WaitForExit();
        }
        Assert.All(Directory.GetDirectories(Path.Combine(folder, "checkpoints"), "step-??????"), checkpoint => Assert.True(File.Exists(Path.Combine(checkpoint, "rollouts.jsonl"))));
        var (code, output, errors) = SapoProcess.Run(run.Folder, "train", file, "--out", folder);
        Assert.True(code == 0, output + errors);
        var trained = Enumerable.Range(1, Steps).SelectMany(step => File.ReadLines(Path.Combine(folder, "rollouts", $"step-{step:D6}.jsonl")).Select(line =>
        {
            var completion = JsonDocument.Parse(line).RootElement;
            Assert.InRange(step - 1 - completion.GetProperty("version").GetInt64(), 0, 3);
            return (completion.GetProperty("promptId").GetInt64(), completion.GetProperty("sampleIndex").GetInt32());
        }));
        Assert.Equal(Enumerable.Range(0, Steps * PromptsPerStep).SelectMany(prompt => new[] { ((long)prompt, 0), (prompt, 1) }), trained);
    }

    [Fact]
    public async Task Train_Interrupted_SaysHowToGoOnAndExits130()
    {
        var file = TrainedRun.WriteRunFile(run.Folder, "interrupted", steps: 200);
        using var sapo = SapoProcess.Start(run.Folder, "train", file);
        await sapo.WaitUntilAsync(() => sapo.Output.Contains("step 2/200", StringComparison.Ordinal));
        sapo.Interrupt();
        Assert.Equal(130, sapo.WaitForExit());
        Assert.Contains($"Interrupted. Go on with: ./sapo train {file}", sapo.Output, StringComparison.Ordinal);
        Assert.Empty(sapo.Errors);
        Assert.NotEmpty(Directory.GetDirectories(Path.Combine(run.Folder, "runs", "out", "interrupted", "checkpoints"), "step-*"));
    }

    [Fact]
    public async Task Train_FolderInUse_IsRefused()
    {
        var file = TrainedRun.WriteRunFile(run.Folder, "busy", steps: 500);
        using var first = SapoProcess.Start(run.Folder, "train", file);
        await first.WaitUntilAsync(() => first.Output.Contains("cold start", StringComparison.Ordinal));
        Refused(["train", file], "in use by another run");
        first.Kill();
        first.WaitForExit();
    }

    [Fact]
    public void Train_UserMistakes_AreOneLineAndExitCode2()
    {
        Refused(["train", "none.json"], "none.json does not exist");
        var misspelt = Path.Combine(run.Folder, "misspelt.json");
        File.WriteAllText(misspelt, File.ReadAllText(run.RunFile).Replace("groupSize", "groupsize", StringComparison.Ordinal));
        if (OperatingSystem.IsLinux()) Refused(["train", "/proc/self/mem"], "files and folders that this user may read and write"); // it is there, but reading fails
        Refused(["train", run.Folder], "is a folder");
        Refused(["train", misspelt], "unknown member rollout.groupsize. The nearest known member is groupSize");
        Refused(["train", run.RunFile, "--seed", "9"], "seed is 9, there 3");
        Refused(["train", run.RunFile, "--steps", "0"], "steps is 0");
        Refused(["train", run.RunFile, "--out", "/proc/nowhere"], "/proc/nowhere");
    }

    private void Refused(string[] arguments, string message)
    {
        var (code, output, errors) = SapoProcess.Run(run.Folder, arguments);
        Assert.True(code == 2, $"{code}\n{output}\n{errors}");
        Assert.StartsWith("error: ", errors, StringComparison.Ordinal);
        Assert.Contains(message, errors, StringComparison.Ordinal);
        Assert.Single(errors.TrimEnd().Split('\n'));
    }

    private Task<byte[]> Weights(string folder) => File.ReadAllBytesAsync(Path.Combine(run.Folder, folder, "final", "model.safetensors"));

    /// <summary>The steps of a metrics file that may just be written: whole lines only.</summary>
    private static List<int> Steps(string path)
    {
        if (!File.Exists(path)) return [];
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var reader = new StreamReader(stream);
        var text = reader.ReadToEnd();
        return [.. text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement.GetProperty("step").GetInt32())];
    }
}

using System.Text.Json;

namespace Sapo.Cli.Tests;

public sealed class ModelCommandTests(TrainedRun run) : IClassFixture<TrainedRun>
{
    [Fact]
    public void Rollout_PromptsOfEveryKind_WritesOneLinePerCompletion()
    {
        Prompts("p.jsonl", """{"prompt": "12+34="}""", "", """{"question": "47+85=", "answer": "132"}""", """{"token_ids": [1, 4, 5]}""");
        var (code, output, errors) = SapoProcess.Run(run.Folder, "rollout", "--model", run.Model, "--prompts", "p.jsonl", "--n", "3", "--max-new-tokens", "8", "--log-probs", "--top-log-probs", "2",
            "--top-k", "5", "--repetition-penalty", "1.1", "--stop", "7", "--stop", "8", "--out", "out.jsonl");
        Assert.True(code == 0, output + errors);
        var lines = Lines("out.jsonl");
        Assert.Equal([(1, 0), (1, 1), (1, 2), (3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2)], lines.Select(line => (line.GetProperty("line").GetInt32(), line.GetProperty("sample").GetInt32())));
        Assert.All(lines, line => Assert.Equal(line.GetProperty("token_ids").GetArrayLength(), line.GetProperty("log_probs").GetArrayLength()));
        Assert.All(lines, line => Assert.InRange(line.GetProperty("token_ids").GetArrayLength(), 1, 8));
        Assert.All(lines, line => Assert.All(line.GetProperty("top_log_probs").EnumerateArray(), top => Assert.Equal(2, top.GetArrayLength())));
        Assert.All(lines, line => Assert.Equal(line.GetProperty("token_ids").GetArrayLength(), line.GetProperty("untruncated_log_probs").GetArrayLength()));
        Assert.Contains("warning: with penalties", errors, StringComparison.Ordinal);
        Assert.Contains("slots in use while prompts waited", output, StringComparison.Ordinal);
        var tokens = lines.Sum(line => line.GetProperty("token_ids").GetArrayLength());
        Assert.Contains($"mean {tokens / 9.0:0.0}; ended by end token {Ended("Stop")}, stop string {Ended("StopString")}, length {Ended("Length")}", output, StringComparison.Ordinal);
        int Ended(string reason) => lines.Count(line => line.GetProperty("finish_reason").GetString() == reason);
    }

    [Fact]
    public void Rollout_StartedAgainAfterACut_MakesTheSameFileAsWithoutIt()
    {
        Prompts("again.jsonl", """{"prompt": "12+34="}""", """{"prompt": "47+85="}""");
        string[] command = ["rollout", "--model", run.Model, "--prompts", "again.jsonl", "-n", "4", "--max-new-tokens", "8", "--out", "again-out.jsonl"];
        Assert.Equal(0, SapoProcess.Run(run.Folder, command).ExitCode);
        var path = Path.Combine(run.Folder, "again-out.jsonl");
        var whole = File.ReadAllText(path);
        File.WriteAllText(path, whole[..(whole.Length / 2)]);
        var (code, output, errors) = SapoProcess.Run(run.Folder, command);
        Assert.True(code == 0, output + errors);
        Assert.Contains("going on from there", errors, StringComparison.Ordinal);
        Assert.Equal(whole.Split('\n').Order(StringComparer.Ordinal), File.ReadAllText(path).Split('\n').Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Rollout_BadLine_StopsWithItsNumberOrIsLeftOut()
    {
        Prompts("bad.jsonl", """{"prompt": "12+34="}""", "{\"promt\": 1}", """{"prompt": "letters"}""", """{"prompt": ""}""", """{"token_ids": [1, 99]}""", $$"""{"prompt": "{{new string('1', 99)}}"}""");
        string[] command = ["rollout", "--model", run.Model, "--prompts", "bad.jsonl", "--max-new-tokens", "4", "--out", "bad-out.jsonl"];
        var (code, _, errors) = SapoProcess.Run(run.Folder, command);
        Assert.Equal(2, code);
        Assert.Contains("bad.jsonl, line 2", errors, StringComparison.Ordinal);
        (code, var output, errors) = SapoProcess.Run(run.Folder, [.. command, "--keep-going"]);
        Assert.True(code == 0, output + errors);
        Assert.Contains("bad.jsonl, line 3", errors, StringComparison.Ordinal); // the tokenizer has no letters
        foreach (var (line, found) in new[] { (4, "empty"), (5, "token 1 is 99"), (6, "100 tokens") })
            Assert.Contains(errors.Split('\n'), error => error.Contains($"bad.jsonl, line {line}", StringComparison.Ordinal) && error.Contains(found, StringComparison.Ordinal));
        Assert.Contains("5 bad lines left out", output, StringComparison.Ordinal);
        Assert.Single(Lines("bad-out.jsonl"));
    }

    [Fact]
    public void Rollout_PlainHuggingFaceFolder_IsImportedOnceAndSaysTheSame()
    {
        Prompts("hf.jsonl", """{"prompt": "12+34="}""");
        var folder = Path.Combine(run.Folder, "plain");
        Directory.CreateDirectory(folder);
        foreach (var name in (string[])["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]) File.Copy(Path.Combine(run.Model, name), Path.Combine(folder, name));
        var first = SapoProcess.Run(run.Folder, "rollout", "--model", folder, "--prompts", "hf.jsonl", "-n", "4", "--max-new-tokens", "8", "--out", "hf-a.jsonl");
        Assert.True(first.ExitCode == 0, first.Output + first.Errors);
        Assert.Contains("Importing", first.Errors, StringComparison.Ordinal);
        var second = SapoProcess.Run(run.Folder, "rollout", "--model", folder, "--prompts", "hf.jsonl", "-n", "4", "--max-new-tokens", "8", "--out", "hf-b.jsonl");
        Assert.DoesNotContain("Importing", second.Errors, StringComparison.Ordinal);
        SapoProcess.Run(run.Folder, "rollout", "--model", run.Model, "--prompts", "hf.jsonl", "-n", "4", "--max-new-tokens", "8", "--out", "hf-c.jsonl");
        var texts = ((string[])["hf-a.jsonl", "hf-b.jsonl", "hf-c.jsonl"]).Select(file => File.ReadAllText(Path.Combine(run.Folder, file))).ToList();
        Assert.Single(texts.Distinct(StringComparer.Ordinal));
    }

    [Fact]
    public void Eval_AdditionAndFile_CountRightAnswers()
    {
        var addition = SapoProcess.Run(run.Folder, "eval", "--model", run.Model, "--task", "addition", "--problems", "20", "--n", "2", "--max-new-tokens", "16");
        Assert.True(addition.ExitCode == 0, addition.Output + addition.Errors);
        Assert.Contains("on 20 problems, 2 completion(s) each", addition.Output, StringComparison.Ordinal);
        Assert.Contains("pass@2", addition.Output, StringComparison.Ordinal);
        // What the model answers greedily is right by definition when it is the reference.
        Prompts("greedy.jsonl", """{"prompt": "12+34="}""");
        SapoProcess.Run(run.Folder, "rollout", "--model", run.Model, "--prompts", "greedy.jsonl", "--temperature", "0", "--max-new-tokens", "32", "--out", "greedy-out.jsonl");
        var said = Lines("greedy-out.jsonl").Single();
        Prompts("right.jsonl", JsonSerializer.Serialize(new { prompt = "12+34=", answer = said.GetProperty("text").GetString() }));
        var file = SapoProcess.Run(run.Folder, "eval", "--model", run.Model, "--prompts", "right.jsonl", "--reward", "exact", "--temperature", "0", "--max-new-tokens", "32", "--out", "judged.jsonl");
        Assert.True(file.ExitCode == 0, file.Output + file.Errors);
        var expected = said.GetProperty("finish_reason").GetString() == "Stop" ? "100.0%" : "0.0%";
        Assert.Contains($"pass@1: {expected}", file.Output, StringComparison.Ordinal);
        Assert.Single(Lines("judged.jsonl"));
    }

    [Fact]
    public void Rollout_FolderOfGenAisBuilder_IsRunByItsOwnGraph()
    {
        // What the publisher writes for any GenAI program is such a folder, once nothing else of ours lies in it.
        var stock = Directory.CreateDirectory(Path.Combine(run.Folder, "stock")).FullName;
        foreach (var name in new[] { "model.onnx", "model.safetensors", "genai_config.json", "tokenizer.json", "tokenizer_config.json" })
            if (File.Exists(Path.Combine(run.Folder, run.Model, name))) File.Copy(Path.Combine(run.Folder, run.Model, name), Path.Combine(stock, name), overwrite: true);
        Prompts("stock.jsonl", """{"prompt": "12+34="}""", """{"prompt": "5+6="}""");
        foreach (var (model, output) in new[] { (run.Model, "own-out.jsonl"), (stock, "stock-out.jsonl") })
        {
            var (code, _, errors) = SapoProcess.Run(run.Folder, "rollout", "--model", model, "--prompts", "stock.jsonl", "-n", "3", "--max-new-tokens", "12", "--out", output);
            Assert.True(code == 0, errors);
        }
        Assert.Equal(InOrder("own-out.jsonl"), InOrder("stock-out.jsonl"));

        IEnumerable<string> InOrder(string output) => Lines(output)
            .OrderBy(line => line.GetProperty("line").GetInt32()).ThenBy(line => line.GetProperty("sample").GetInt32())
            .Select(line => line.GetProperty("token_ids").ToString());
    }

    [Fact]
    public void Rollout_Int8ThroughGenAi_SaysHowFarItIsOffAndSavesIt()
    {
        Prompts("int8.jsonl", """{"prompt": "12+34="}""");
        var (code, _, errors) = SapoProcess.Run(
            run.Folder, "rollout", "--model", run.Model, "--prompts", "int8.jsonl", "-n", "4", "--max-new-tokens", "8", "--precision", "int8", "--engine", "genai", "--out", "int8-out.jsonl");
        Assert.True(code == 0, errors);
        Assert.Contains("int8: log-probs differ from the learner by", errors, StringComparison.Ordinal);
        using var saved = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(run.Folder, run.Model, ".sapo", "policy-int8", "precision.json")));
        Assert.True(saved.RootElement.GetProperty("mismatch").GetProperty("tokens").GetInt32() > 0);
        Assert.Equal(4, Lines("int8-out.jsonl").Count);
    }

    [Theory]
    [InlineData("engine.session is \"gena\"", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--engine", "gena", "--out", "o")]
    [InlineData("engine.precision is \"int3\"", "eval", "--model", "runs/out/tiny/final", "--task", "addition", "--precision", "int3")]
    [InlineData("at most 32", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--engine", "genai", "--slots", "33", "--out", "o")]
    [InlineData("CUDAExecutionProvider", "eval", "--model", "runs/out/tiny/final", "--task", "addition", "--provider", "cuda")]
    [InlineData("CUDA", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--precision", "bf16", "--out", "o")]
    [InlineData("is a run folder", "rollout", "--model", "runs/out/tiny", "--prompts", "p", "--out", "o")]
    [InlineData("does not exist", "rollout", "--model", "nowhere", "--prompts", "here.jsonl", "--out", "o")]
    [InlineData("does not exist", "eval", "--model", "runs/out/tiny/final", "--prompts", "nowhere.jsonl")]
    [InlineData("neither --task nor --prompts", "eval", "--model", "runs/out/tiny/final")]
    [InlineData("--task is sums", "eval", "--model", "runs/out/tiny/final", "--task", "sums")]
    [InlineData("at most 737", "eval", "--model", "runs/out/tiny/final", "--task", "addition", "--problems", "738")]
    [InlineData("topP is 2", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--top-p", "2", "--out", "o")]
    [InlineData("temperature is NaN", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--temperature", "NaN", "--out", "o")]
    [InlineData("temperature is -1", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--temperature", "-1", "--out", "o")]
    [InlineData("topK is 1000", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--top-k", "1000", "--out", "o")]
    [InlineData("engine.slots is 0", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--slots", "0", "--out", "o")]
    [InlineData("repetitionPenalty is 0", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--repetition-penalty", "0", "--out", "o")]
    [InlineData("frequencyPenalty is 3", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--frequency-penalty", "3", "--out", "o")]
    [InlineData("--top-log-probs is 65", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--top-log-probs", "65", "--out", "o")]
    [InlineData("--n is 0", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--n", "0", "--out", "o")]
    [InlineData("cannot be written", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--out", "/proc/sapo/out.jsonl")]
    [InlineData("--threads", "rollout", "--model", "runs/out/tiny/final", "--prompts", "here.jsonl", "--threads", "0", "--out", "o")]
    public void Command_UserMistake_IsOneLineAndExitCode2(string message, params string[] arguments)
    {
        Prompts("here.jsonl", """{"prompt": "12+34="}""");
        if (message == "is a run folder") Prompts("p", """{"prompt": "12+34="}""");
        var (code, output, errors) = SapoProcess.Run(run.Folder, arguments);
        Assert.True(code == 2, $"{code}\n{output}\n{errors}");
        Assert.Contains(message, errors, StringComparison.Ordinal);
        Assert.Single(errors.TrimEnd().Split('\n'));
    }

    [Theory]
    [InlineData(5)] // outside the vocabulary: found by the engine's check
    [InlineData(6)] // longer than the context
    public void Rollout_LineTheModelCannotTake_StopsBeforeAnythingIsGenerated(int bad)
    {
        Prompts("unfit.jsonl", """{"prompt": "12+34="}""", bad == 5 ? """{"token_ids": [1, 99]}""" : $$"""{"prompt": "{{new string('1', 99)}}"}""");
        var (code, output, errors) = SapoProcess.Run(run.Folder, "rollout", "--model", run.Model, "--prompts", "unfit.jsonl", "--out", "unfit-out.jsonl");
        Assert.True(code == 2, output + errors);
        Assert.Contains("unfit.jsonl, line 2", errors, StringComparison.Ordinal);
        Assert.Empty(Lines("unfit-out.jsonl"));
    }

    [Fact]
    public void Rollout_DiskFull_IsOneMessageThatSaysHowToGoOn()
    {
        Prompts("full.jsonl", """{"prompt": "12+34="}""");
        string[] command = ["rollout", "--model", run.Model, "--prompts", "full.jsonl", "--n", "40", "--max-new-tokens", "8", "--out", "full-out.jsonl"];
        Assert.Equal(0, SapoProcess.Run(run.Folder, command).ExitCode);
        var path = Path.Combine(run.Folder, "full-out.jsonl");
        File.Delete(path);
        File.CreateSymbolicLink(path, "/dev/full"); // takes nothing, as a full disk
        var (code, output, errors) = SapoProcess.Run(run.Folder, command);
        Assert.True(code == 2, output + errors);
        Assert.Contains("expected free space on that disk", errors, StringComparison.Ordinal);
        Assert.Contains("give the same command again", errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tokenizer.json", "tokenizer.json does not exist")]
    [InlineData("model.safetensors", "model.safetensors")]
    public void Rollout_ModelFolderThatIsBroken_NamesTheFile(string broken, string message)
    {
        Prompts("broken.jsonl", """{"prompt": "12+34="}""");
        var folder = Directory.CreateDirectory(Path.Combine(run.Folder, "broken-" + broken)).FullName;
        foreach (var name in (string[])["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]) File.Copy(Path.Combine(run.Model, name), Path.Combine(folder, name));
        var path = Path.Combine(folder, broken);
        if (broken == "tokenizer.json") File.Delete(path);
        else
            using (var weights = new FileStream(path, FileMode.Open)) weights.SetLength(weights.Length - 1000);
        var (code, output, errors) = SapoProcess.Run(run.Folder, "rollout", "--model", folder, "--prompts", "broken.jsonl", "--out", "broken-out.jsonl");
        Assert.True(code == 2, output + errors);
        Assert.Contains(message, errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", errors, StringComparison.Ordinal);
    }

    private void Prompts(string name, params string[] lines) => File.WriteAllLines(Path.Combine(run.Folder, name), lines);

    // In the order of prompts and samples: rollout writes them as they end.
    private List<JsonElement> Lines(string name)
    {
        return [.. File.ReadLines(Path.Combine(run.Folder, name)).Select(line => JsonDocument.Parse(line).RootElement).OrderBy(line => Number(line, "line")).ThenBy(line => Number(line, "sample"))];

        static int Number(JsonElement line, string name) => line.TryGetProperty(name, out var number) ? number.GetInt32() : 0;
    }
}

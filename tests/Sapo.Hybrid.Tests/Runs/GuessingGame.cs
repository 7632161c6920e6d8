using System.Text;
using System.Text.Json;
using Sapo.Core.Options;

namespace Sapo.Hybrid.Tests.Runs;

/// <summary>
/// Problems that a model of 17 tokens which knows nothing solves about once in 17: the answer is one digit, and the first digit ends
/// a completion. The model is made once for all tests of a class.
/// </summary>
public sealed class GuessingGame : IAsyncLifetime, IDisposable
{
    public const int PromptsPerStep = 4, GroupSize = 8, MaxNewTokens = 4;

    private readonly TemporaryFolder _folder = new();
    private string _problems = "";

    public async Task InitializeAsync()
    {
        _problems = _folder.File("problems.jsonl", string.Concat(Enumerable.Range(0, 30).Select(n => $"{{\"prompt\": \"{n}=\", \"answer\": \"{n % 10}\"}}\n")));
        var options = TinyRun.Options(1);
        options = options with { Model = new ModelOptions { Create = options.Model.Create! with { VocabSize = 17 } } };
        await TinyRun.RunAsync(options, _folder.At("model"));
    }

    /// <summary>A run on the problems.</summary>
    public RunOptions Options(int steps, string members = "", string learner = "") => RunOptionsReader.Parse(Encoding.UTF8.GetBytes(
        $$"""
        {
          "name": "guess", "seed": 5, "steps": {{steps}},
          "model": { "folder": {{JsonSerializer.Serialize(_folder.At("model", "final"))}} },
          "task": { "kind": "jsonl", "train": {{JsonSerializer.Serialize(_problems)}}, "reward": "exact", "chat": false },
          "rollout": { "promptsPerStep": {{PromptsPerStep}}, "groupSize": {{GroupSize}}, "maxNewTokens": {{MaxNewTokens}}, "stopStrings": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] },
          "engine": { "slots": 16 },
          "learner": { {{learner}} "miniBatches": 2, "learningRate": 1e-3 },
          "evaluation": { "problems": 0 },
          {{members}}
        }
        """), "guess.json");

    public Task DisposeAsync() => Task.CompletedTask;

    public void Dispose() => _folder.Dispose();
}

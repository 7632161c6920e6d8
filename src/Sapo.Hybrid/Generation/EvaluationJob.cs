using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Hybrid.Rollouts;
using Sapo.Hybrid.Runs;
using Sapo.Hybrid.Tasks;
using Sapo.Rollout;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Generation;

/// <summary>What <c>sapo eval</c> does.</summary>
public sealed record EvaluationJobOptions
{
    /// <summary>A published policy or a Hugging Face folder.</summary>
    public required string Model { get; init; }

    /// <summary>Whose held-out problems are asked.</summary>
    public required TaskOptions Task { get; init; }

    /// <summary>How many; null: 512 of the addition task, all of a file.</summary>
    public int? Problems { get; init; }

    /// <summary>Completions per problem.</summary>
    public int Samples { get; init; } = 1;

    /// <summary>How tokens are drawn.</summary>
    public required SamplingOptions Sampling { get; init; }

    /// <summary>The engine.</summary>
    public EngineOptions Engine { get; init; } = new();

    /// <summary>Threads of a decode step; null takes every core.</summary>
    public int? Threads { get; init; }

    /// <summary>Where judged completions are written, or null.</summary>
    public string? Out { get; init; }
}

/// <summary>Evaluates one model on one task.</summary>
public static class EvaluationJob
{
    /// <summary>Asks all problems.</summary>
    /// <param name="options">What to do.</param>
    /// <param name="say">News, for people.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancel">Stops.</param>
    /// <exception cref="UserErrorException">Files, model or options are wrong.</exception>
    public static async Task<EvaluationResult> RunAsync(
        EvaluationJobOptions options, Action<string> say, TimeProvider time, CancellationToken cancel)
    {
        if (options.Samples < 1) throw new UserErrorException($"--n is {options.Samples}", "at least 1", "Correct the command line");
        if (options.Samples > 1 && options.Sampling.Temperature == 0)
            throw new UserErrorException($"--n is {options.Samples} at temperature 0", "1, since all would be the same", "Correct the command line");
        var sampling = options.Sampling.Validated();
        ExecutionProvider.Check(options.Engine.Validated());
        using var model = ServedModel.Open(options.Model, PrecisionNames.Parse(options.Engine.Precision), say);
        var tokenizer = HuggingFaceTokenizer.Load(model.Policy.Folder);
        var task = TrainingTasks.Create(options.Task, seed: 0, tokenizer, model.Policy.Folder);
        var asked = new EvaluationOptions
        {
            Problems = options.Problems ?? (task is JsonlTask file ? file.HeldOutCount : new EvaluationOptions().Problems),
            Samples = options.Samples,
            Temperature = sampling.Temperature,
        }.Validated();
        if (asked.Problems < 1) throw new UserErrorException("--problems is 0", "at least 1", "Correct the command line");
        var judge = new RewardJudge(task.Rewards, new CompletionText(tokenizer).Of);
        var threads = options.Threads ?? ThreadBudget.ForMachine(overlapped: false).EngineThreads;
        var problems = task.HeldOutPrompts(asked.Problems);
        var engine = await ServedEngine.StartAsync(model, ServedEngine.Sized(options.Engine, problems, sampling.MaxNewTokens), threads, tokenizer, trace: null, say, cancel).ConfigureAwait(false);
        await using (engine.ConfigureAwait(false))
        {
            var evaluator = new Evaluator(
                (prompt, samples, how, stop) => engine.GenerateAsync(prompt, samples, how, stop), judge, task, time);
            var (result, groups) = await evaluator.RunAsync(
                problems, asked, sampling, cancel).ConfigureAwait(false);
            if (options.Out is not null) RolloutLines.Write(options.Out, groups, judge);
            return result;
        }
    }
}

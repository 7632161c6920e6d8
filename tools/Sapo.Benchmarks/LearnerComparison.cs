// The learner's speed, in turns with what it is compared with, so that whatever else runs on the machine hits both alike:
//   plain    8 sequences of 256 computed tokens, nothing shared, beside the peer on 8 x 256
//   shared   a prompt of 256 with 8 completions of 64, beside the same with the prompt repeated, and beside the peer on 8 x 320
// A peer that pads computes every position; tokens are completion tokens in the second comparison, all tokens in the first.
using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Core.Options;
using Sapo.Hybrid.Profiling;
using Sapo.Learner;
using Sapo.Learner.Objectives;

namespace Sapo.Benchmarks;

/// <summary>The <c>learner</c> command.</summary>
internal static class LearnerComparison
{
    private const string Unit = "tokens/s";

    private static readonly LearnerWorkload Plain = new() { Groups = 8, GroupSize = 1, PromptTokens = 1, NewTokens = 256 };
    private static readonly LearnerWorkload Grouped = new() { Groups = 1, GroupSize = 8, PromptTokens = 256, NewTokens = 64 };

    public static Command Create()
    {
        var shapes = new Option<string[]>("--models") { Description = $"Shapes with random weights: {string.Join(", ", ModelShapes.Names)}", DefaultValueFactory = _ => ["tiny", "100m"], AllowMultipleArgumentsPerToken = true };
        var folders = new Option<string[]>("--folders") { Description = "Hugging Face folders instead", AllowMultipleArgumentsPerToken = true };
        var turns = new Option<int>("--turns") { Description = "How often every pair is measured; the median ratio counts", DefaultValueFactory = _ => 5 };
        var steps = new Option<int>("--steps") { Description = "Steps of a turn; their median counts", DefaultValueFactory = _ => 3 };
        var peer = new Option<string?>("--peer") { Description = "Another program's command, with {model}, {batch} and {sequence}", HelpName = "command" };
        var name = new Option<string>("--peer-name") { Description = "What the other program is called in the result", DefaultValueFactory = _ => "peer" };
        var pattern = new Option<string>("--peer-pattern") { Description = "Finds tokens per second in what it prints", DefaultValueFactory = _ => PeerProgram.DefaultPattern };
        var output = new Option<string?>("--out") { Description = "The result. Default: tools/Sapo.Benchmarks/results/<processor>-learner.json", HelpName = "file" };
        var command = new Command("learner", "Time the learner beside another program, in turns.") { shapes, folders, turns, steps, peer, name, pattern, output };
        command.SetAction(async (parsed, cancel) =>
        {
            var (rounds, timed) = (parsed.GetValue(turns), parsed.GetValue(steps));
            if (rounds < 1 || timed < 1) throw new UserErrorException($"--turns is {rounds} and --steps is {timed}", "at least 1", "Correct the command line");
            var budget = ThreadBudget.ForMachine(overlapped: false);
            NativeEnvironment.Prepare(budget);
            var context = ProfileContext.Look(TimeProvider.System);
            var file = ResultFile.For(context, parsed.GetValue(output), "-learner");
            var limits = MachineLimits.Measure(budget.LearnerThreads);
            var other = parsed.GetValue(peer) is { } line ? new PeerProgram(line, parsed.GetRequiredValue(pattern)) : null;
            var results = new List<LearnerComparisonResult>();
            var named = parsed.GetValue(folders) is { Length: > 0 } given ? given.Select(folder => (Folder: (string?)folder, Shape: (string?)null)) : parsed.GetRequiredValue(shapes).Select(shape => ((string?)null, (string?)shape));
            foreach (var (folder, shape) in named)
            {
                using var model = ProfiledModel.Open(folder, shape, Console.Error.WriteLine);
                var result = new LearnerComparisonResult(ProfiledModelInfo.Of(model), await CompareAsync(model, rounds, timed, other, cancel));
                Console.WriteLine($"{ProfileText.Head(context, limits, result.Model)}\n{BenchmarkRatio.Table(result.Ratios)}");
                results.Add(result);
            }
            ResultFile.Write(file, JsonSerializer.SerializeToUtf8Bytes(new LearnerComparisonReport(context, limits, rounds, other is null ? null : parsed.GetValue(name), results), BenchmarkJson.Default.LearnerComparisonReport));
            return 0;
        });
        return command;
    }

    private static async Task<IReadOnlyList<BenchmarkRatio>> CompareAsync(ProfiledModel model, int turns, int steps, PeerProgram? peer, CancellationToken cancel)
    {
        using var learner = new PolicyLearner(model.Folder, Plain.ToOptions(), ObjectiveRegistry.Create(new ObjectiveOptions(), model.Config.VocabSize));
        var (plain, shared, repeated) = (LearnerProfiler.BatchOf(learner, Plain, shared: true), LearnerProfiler.BatchOf(learner, Grouped, shared: true), LearnerProfiler.BatchOf(learner, Grouped, shared: false));
        foreach (var batch in new[] { plain, shared, repeated }) learner.Step(batch); // compiles code and reserves memory
        var (sequences, length, padded) = (Plain.Groups, Plain.NewTokens, Grouped.PromptTokens + Grouped.NewTokens);
        var (beside, sharing, besidePadded) = (new List<(double, double)>(), new List<(double, double)>(), new List<(double, double)>());
        for (var turn = 0; turn < turns; turn++)
        {
            Console.Error.WriteLine($"{model.Name}: turn {turn + 1} of {turns} ...");
            var plainRate = Rate(learner, plain, Plain.Tokens, steps);
            if (peer is not null) beside.Add((plainRate, await peer.TokensPerSecondAsync(model.Folder, sequences, length, cancel)));
            var sharedRate = Rate(learner, shared, Grouped.Tokens, steps);
            sharing.Add((sharedRate, Rate(learner, repeated, Grouped.Tokens, steps)));
            if (peer is not null) // its tokens are all positions, of which the completions are a part
                besidePadded.Add((sharedRate, await peer.TokensPerSecondAsync(model.Folder, Grouped.GroupSize, padded, cancel) * Grouped.NewTokens / padded));
        }
        var ratios = new List<BenchmarkRatio>();
        if (peer is not null) ratios.Add(Ratio("learner / peer, no shared prompt", beside, $"{sequences} x {length} tokens", ">= 1.3"));
        ratios.Add(Ratio("learner: shared prompt / repeated prompt", sharing, $"prompt {Grouped.PromptTokens}, {Grouped.GroupSize} completions of {Grouped.NewTokens}"));
        if (peer is not null) ratios.Add(Ratio("learner, shared prompt / peer, padded", besidePadded, $"prompt {Grouped.PromptTokens}, {Grouped.GroupSize} completions of {Grouped.NewTokens}; completion tokens", ">= 3"));
        return ratios;
    }

    private static double Rate(PolicyLearner learner, TrainingBatch batch, long tokens, int steps)
    {
        var seconds = new List<double>();
        for (var step = 0; step < steps; step++)
        {
            var start = Stopwatch.GetTimestamp();
            learner.Step(batch);
            seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        seconds.Sort();
        return tokens / seconds[steps / 2];
    }

    private static BenchmarkRatio Ratio(string name, List<(double First, double Second)> turns, string work, string? target = null) =>
        BenchmarkRatio.Of(name, [.. turns.Select(turn => turn.First)], [.. turns.Select(turn => turn.Second)], Unit, work, target);
}

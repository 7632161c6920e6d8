using System.CommandLine;
using Sapo.Core;
using Sapo.Hybrid.Generation;

namespace Sapo.Cli.Commands;

internal static class RolloutCommand
{
    public static Command Create()
    {
        var model = new Option<string>("--model")
        {
            Description = "A run's final folder, a published policy, or a Hugging Face folder (imported once into <folder>/.sapo)",
            Required = true,
            HelpName = "folder",
        };
        var prompts = new Option<string>("--prompts")
        {
            Description = "JSONL: one {\"prompt\": ...}, {\"question\": ...}, {\"messages\": [...]} or {\"token_ids\": [...]} per line",
            Required = true,
            HelpName = "file",
        };
        var output = new Option<string>("--out")
        {
            Description = "JSONL: one completion per line, as soon as it has ended",
            Required = true,
            HelpName = "file",
        };
        var samples = new Option<int>("--n", "-n") { Description = "Completions per prompt", DefaultValueFactory = _ => 1 };
        var chat = new Option<bool>("--chat") { Description = "Put plain prompts into the model's chat template, as a user's message" };
        var logProbs = new Option<bool>("--log-probs") { Description = "Write each token's log-prob too" };
        var topLogProbs = new Option<int>("--top-log-probs") { Description = "Write log-probs and so many of the most likely tokens beside each sampled one", HelpName = "N" };
        var keepGoing = new Option<bool>("--keep-going") { Description = "Report bad lines and go on, instead of stopping at the first" };
        var trace = new Option<string?>("--trace") { Description = "A trace of the engine's work, for ui.perfetto.dev or chrome://tracing", HelpName = "file" };
        var command = new ExampleCommand(
            "rollout", "Sample completions for a file of prompts. An interrupted command goes on where it stopped when it is given again.",
            "./sapo rollout --model runs/out/quickstart/final --prompts prompts.jsonl --n 8 --out out.jsonl",
            "./sapo rollout --model SmolLM2-135M-Instruct --prompts questions.jsonl --chat --temperature 0 --out answers.jsonl")
        { model, prompts, output, samples, chat, logProbs, topLogProbs, keepGoing, trace };
        var sampling = new SamplingArguments();
        sampling.AddTo(command);
        command.SetAction(async (parsed, cancel) =>
        {
            var options = new GenerationOptions
            {
                Model = parsed.GetRequiredValue(model),
                Prompts = parsed.GetRequiredValue(prompts),
                Out = parsed.GetRequiredValue(output),
                Samples = parsed.GetValue(samples),
                Sampling = sampling.Sampling(parsed),
                Engine = sampling.Engine(parsed),
                Threads = sampling.Threads(parsed),
                LogProbs = parsed.GetValue(logProbs),
                TopLogProbs = parsed.GetValue(topLogProbs),
                KeepGoing = parsed.GetValue(keepGoing),
                Chat = parsed.GetValue(chat),
                Trace = parsed.GetValue(trace),
            };
            var outcome = await GenerationJob.RunAsync(options, Console.Error.WriteLine, TimeProvider.System, cancel);
            Print(outcome, options.Out);
            return 0;
        });
        return command;
    }

    private static void Print(GenerationOutcome outcome, string path)
    {
        var left = outcome.BadLines > 0 ? $", {outcome.BadLines:N0} bad lines left out" : "";
        Console.WriteLine(
            $"{outcome.Completions:N0} completions, {outcome.Tokens:N0} tokens in {outcome.Seconds:0.0} s "
            + $"({outcome.Tokens / Math.Max(1e-9, outcome.Seconds):N0} tokens/s){left}: {path}");
        if (outcome.Completions == 0) return;
        int Ended(FinishReason reason) => outcome.Ends.GetValueOrDefault(reason);
        Console.WriteLine(
            $"lengths {outcome.Lengths.Shortest:N0} to {outcome.Lengths.Longest:N0}, mean {outcome.Tokens / (double)outcome.Completions:0.0}; ended by "
            + $"end token {Ended(FinishReason.Stop):N0}, stop string {Ended(FinishReason.StopString):N0}, length {Ended(FinishReason.Length):N0}");
        Console.WriteLine(
            $"slots in use while prompts waited: {100 * outcome.SlotUtilisation:0.0}%; prompt tokens computed: {outcome.PromptTokens.Computed:N0} of {outcome.PromptTokens.Requested:N0}");
    }
}

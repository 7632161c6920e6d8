using System.CommandLine;
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
            Description = "JSONL: one completion per line, in the order of the prompts",
            Required = true,
            HelpName = "file",
        };
        var samples = new Option<int>("--samples", "-n") { Description = "Completions per prompt", DefaultValueFactory = _ => 1 };
        var chat = new Option<bool>("--chat") { Description = "Put plain prompts into the model's chat template, as a user's message" };
        var logProbs = new Option<bool>("--log-probs") { Description = "Write each token's log-prob too" };
        var keepGoing = new Option<bool>("--keep-going") { Description = "Report bad lines and go on, instead of stopping at the first" };
        var trace = new Option<string?>("--trace") { Description = "A trace of the engine's work, for ui.perfetto.dev or chrome://tracing", HelpName = "file" };
        var command = new ExampleCommand(
            "rollout", "Sample completions for a file of prompts. An interrupted command goes on where it stopped when it is given again.",
            "./sapo rollout --model runs/out/quickstart/final --prompts prompts.jsonl --samples 8 --out out.jsonl",
            "./sapo rollout --model SmolLM2-135M-Instruct --prompts questions.jsonl --chat --temperature 0 --out answers.jsonl")
        { model, prompts, output, samples, chat, logProbs, keepGoing, trace };
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
                KeepGoing = parsed.GetValue(keepGoing),
                Chat = parsed.GetValue(chat),
                Trace = parsed.GetValue(trace),
            };
            var outcome = await GenerationJob.RunAsync(options, Console.Error.WriteLine, TimeProvider.System, cancel);
            var left = outcome.BadLines > 0 ? $", {outcome.BadLines:N0} bad lines left out" : "";
            Console.WriteLine(
                $"{outcome.Completions:N0} completions, {outcome.Tokens:N0} tokens in {outcome.Seconds:0.0} s "
                + $"({outcome.Tokens / Math.Max(1e-9, outcome.Seconds):N0} tokens/s){left}: {options.Out}");
            return 0;
        });
        return command;
    }
}

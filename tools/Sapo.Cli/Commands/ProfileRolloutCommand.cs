using System.CommandLine;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Hybrid.Profiling;
using Sapo.Rollout;

namespace Sapo.Cli.Commands;

internal static class ProfileRolloutCommand
{
    public static Command Create()
    {
        var slots = Several("--slots", "Completions decoded at once; several numbers are swept", 16, 64);
        var prompts = Several("--prompt", "Tokens per prompt; several are swept", 64);
        var fresh = Several("--new", "Tokens per completion; several are swept", 64);
        var sessions = Named("--engine", "What decodes: ort or genai (at most 32 slots); several are compared", new EngineOptions().Session);
        var precisions = Named("--precision", $"What weights are read in: {string.Join(", ", PrecisionNames.All)}; several are compared", new EngineOptions().Precision);
        var groupSize = new Option<int>("--group") { Description = "Completions per prompt", DefaultValueFactory = _ => 8 };
        var rounds = new Option<int>("--rounds") { Description = "How often every slot is filled", DefaultValueFactory = _ => 2 };
        var trace = new Option<string?>("--trace") { Description = "A trace of every run and swap, for ui.perfetto.dev or chrome://tracing", HelpName = "file" };
        var command = new ExampleCommand("rollout", "Time the rollout engine: tokens/s, time split, memory, shares of what the machine can do, switches of versions.",
            "sapo profile rollout --shape 100m --slots 16 64 --prompt 64 --new 128",
            "sapo profile rollout --shape 100m --slots 16 32 --engine ort genai --precision fp32 int8 int4",
            "sapo profile rollout --model runs/out/quickstart/final --slots 256 --prompt 8 --new 40")
        { slots, prompts, fresh, groupSize, rounds, sessions, precisions, trace };
        var common = new ProfileArguments();
        common.AddTo(command);
        command.SetAction(async (parsed, cancel) =>
        {
            RolloutWorkload[] workloads =
            [
                .. from slot in parsed.GetRequiredValue(slots)
                   from prompt in parsed.GetRequiredValue(prompts)
                   from tokens in parsed.GetRequiredValue(fresh)
                   from precision in parsed.GetRequiredValue(precisions)
                   from session in parsed.GetRequiredValue(sessions)
                   select new RolloutWorkload { Session = session, Precision = precision, Slots = slot, PromptTokens = prompt, NewTokens = tokens, GroupSize = parsed.GetValue(groupSize), Rounds = parsed.GetValue(rounds) }.Validated(),
            ];
            var events = EngineTrace.To(parsed.GetValue(trace), TimeProvider.System);
            using var model = common.Open(parsed);
            var profile = await RolloutProfiler.ProfileAsync(model, workloads, common.Threads(parsed), Console.Error.WriteLine, TimeProvider.System, events, cancel);
            Console.WriteLine(ProfileText.Of(profile));
            Console.WriteLine($"Saved: {ProfileFiles.Save(common.Out(parsed), profile)}");
            events?.Save(parsed.GetValue(trace)!);
            return 0;
        });
        return command;
    }

    private static Option<string[]> Named(string name, string description, string usual) =>
        new(name) { Description = description, DefaultValueFactory = _ => [usual], AllowMultipleArgumentsPerToken = true, Arity = ArgumentArity.OneOrMore, HelpName = "name" };

    private static Option<int[]> Several(string name, string description, params int[] usual) =>
        new(name) { Description = description, DefaultValueFactory = _ => usual, AllowMultipleArgumentsPerToken = true, Arity = ArgumentArity.OneOrMore };
}

using System.CommandLine;
using Sapo.Hybrid.Profiling;

namespace Sapo.Cli.Commands;

internal static class ProfileLearnerCommand
{
    public static Command Create()
    {
        var usual = new LearnerWorkload();
        var groups = new Option<int>("--groups") { Description = "Prompts", DefaultValueFactory = _ => usual.Groups };
        var group = new Option<int>("--group") { Description = "Completions per prompt", DefaultValueFactory = _ => usual.GroupSize };
        var prompt = new Option<int>("--prompt") { Description = "Tokens per prompt", DefaultValueFactory = _ => usual.PromptTokens };
        var fresh = new Option<int>("--new") { Description = "Tokens per completion", DefaultValueFactory = _ => usual.NewTokens };
        var steps = new Option<int>("--steps") { Description = "Steps timed for each layout; the fastest counts", DefaultValueFactory = _ => usual.Steps };
        var microBatch = new Option<int>("--max-tokens-per-micro-batch") { Description = "Most tokens computed at once", DefaultValueFactory = _ => usual.MaxTokensPerMicroBatch };
        var dtype = new Option<string>("--dtype") { Description = "fp32 or bf16: what the layers' matrix products are computed in", DefaultValueFactory = _ => usual.Dtype };
        var checkpointing = new Option<bool>("--activation-checkpointing") { Description = "Compute activations again in the backward pass instead of keeping them" };
        var command = new ExampleCommand("learner", "Time the learner: tokens/s, time split, operations, memory; with each prompt computed once per group and with prompts repeated.",
            "sapo profile learner --shape 100m --prompt 256 --new 64 --group 8")
        { groups, group, prompt, fresh, steps, microBatch, dtype, checkpointing };
        var common = new ProfileArguments();
        common.AddTo(command);
        command.SetAction((parsed, cancel) =>
        {
            var workload = new LearnerWorkload
            {
                Groups = parsed.GetValue(groups),
                GroupSize = parsed.GetValue(group),
                PromptTokens = parsed.GetValue(prompt),
                NewTokens = parsed.GetValue(fresh),
                Steps = parsed.GetValue(steps),
                MaxTokensPerMicroBatch = parsed.GetValue(microBatch),
                Dtype = parsed.GetRequiredValue(dtype),
                ActivationCheckpointing = parsed.GetValue(checkpointing),
            }.Validated();
            using var model = common.Open(parsed);
            var profile = LearnerProfiler.Profile(model, workload, common.Threads(parsed), Console.Error.WriteLine, TimeProvider.System, cancel);
            Console.WriteLine(ProfileText.Of(profile));
            Console.WriteLine($"Saved: {ProfileFiles.Save(common.Out(parsed), profile)}");
            return Task.FromResult(0);
        });
        return command;
    }
}

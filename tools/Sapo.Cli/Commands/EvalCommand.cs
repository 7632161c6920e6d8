using System.CommandLine;
using System.Globalization;
using Sapo.Cli.Display;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Generation;

namespace Sapo.Cli.Commands;

internal static class EvalCommand
{
    public static Command Create()
    {
        var model = new Option<string>("--model")
        {
            Description = "A run's final folder, a published policy, or a Hugging Face folder (imported once into <folder>/.sapo)",
            Required = true,
            HelpName = "folder",
        };
        var task = new Option<string?>("--task") { Description = "The built-in task: addition", HelpName = "name" };
        var prompts = new Option<string?>("--prompts")
        {
            Description = "Or problems from JSONL: {\"prompt\" or \"question\" or \"messages\": ..., \"answer\": ...} per line",
            HelpName = "file",
        };
        var reward = new Option<string>("--reward")
        {
            Description = "With --prompts: math (the same number or expression) or exact (the same text)",
            DefaultValueFactory = _ => "math",
        };
        var chat = new Option<bool>("--chat") { Description = "Put plain prompts into the model's chat template, as a user's message" };
        var problems = new Option<int?>("--problems") { Description = "How many; default 512 of the addition task, all of a file" };
        var samples = new Option<int>("--n", "-n")
        {
            Description = "Completions per problem; more than one gives pass@k too",
            DefaultValueFactory = _ => 1,
        };
        var output = new Option<string?>("--out") { Description = "Write the judged completions too, as JSONL", HelpName = "file" };
        var command = new ExampleCommand("eval", "Ask a model problems and count right answers: pass@1 with a 95% interval.",
            "./sapo eval --model runs/out/quickstart/final --task addition",
            "./sapo eval --model SmolLM2-135M-Instruct --prompts test.jsonl --chat --n 4")
        { model, task, prompts, reward, chat, problems, samples, output };
        var sampling = new SamplingArguments();
        sampling.AddTo(command);
        command.SetAction(async (parsed, cancel) =>
        {
            if (parsed.GetValue(task) is not null && parsed.GetValue(prompts) is null && (parsed.GetValue(chat) || parsed.GetResult(reward) is { Implicit: false }))
                throw new UserErrorException("--chat or --reward is given with --task", "--prompts, whose problems they are about", "Leave it out");
            var options = new EvaluationJobOptions
            {
                Model = parsed.GetRequiredValue(model),
                Task = TaskOf(parsed.GetValue(task), parsed.GetValue(prompts), parsed.GetRequiredValue(reward), parsed.GetValue(chat)),
                Problems = parsed.GetValue(problems),
                Samples = parsed.GetValue(samples),
                Sampling = sampling.Sampling(parsed),
                Engine = sampling.Engine(parsed),
                Threads = sampling.Threads(parsed),
                Out = parsed.GetValue(output),
            };
            var result = await EvaluationJob.RunAsync(options, Console.Error.WriteLine, TimeProvider.System, cancel);
            Console.WriteLine(
                $"pass@1: {ResultText.Share(result.PassAt1)} on {result.Problems} problems, "
                + $"{result.Samples} completion(s) each at temperature {result.Temperature}");
            if (result.Samples > 1) Console.WriteLine($"pass@{result.Samples}: {100 * result.PassAtK:0.0}%");
            Console.WriteLine(
                $"mean length {result.MeanTokens:0.0} tokens, {100 * result.EndedShare:0.0}% ended by themselves, {result.Seconds:0.0} s");
            if (result.Unscored > 0) Console.WriteLine($"{result.Unscored} completions could not be judged; they count as wrong");
            return 0;
        });
        return command;
    }

    private static TaskOptions TaskOf(string? task, string? prompts, string reward, bool chat) => (task, prompts) switch
    {
        ("addition", null) => new AdditionTaskOptions(),
        (null, { } file) => new JsonlTaskOptions { Train = file, HeldOut = file, Reward = reward, Chat = chat },
        (null, null) => throw new UserErrorException("neither --task nor --prompts is given", "one of the two", "Say what to ask"),
        ({ } name, null) => throw new UserErrorException(
            $"--task is {name}", "addition", "Name a built-in task, or a file of problems with --prompts"),
        _ => throw new UserErrorException("both --task and --prompts are given", "one of the two", "Leave one out"),
    };
}

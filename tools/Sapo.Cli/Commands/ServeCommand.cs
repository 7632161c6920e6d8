using System.CommandLine;
using System.Net;
using System.Security.Cryptography;
using Sapo.Cli.Serving;
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Core.Models;
using Sapo.Hybrid.Generation;
using Sapo.Hybrid.Serving;
using Sapo.Rollout;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Tokenization;

namespace Sapo.Cli.Commands;

internal static class ServeCommand
{
    private const int LargestPort = 65535;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30); // what orchestrators commonly allow between asking and killing

    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "A run's final folder, a published policy, or a Hugging Face folder (imported once into <folder>/.sapo)", Required = true, HelpName = "folder" };
        var host = new Option<string>("--host") { Description = "The address to listen on. Whoever reaches it may use the model: there is no authentication", DefaultValueFactory = _ => "127.0.0.1" };
        var port = new Option<int>("--port") { Description = "The port; 0 takes a free one", DefaultValueFactory = _ => 8000 };
        var name = new Option<string?>("--name") { Description = "What clients call the model. Default: its folder's name, or its run's" };
        var command = new ExampleCommand(
            "serve",
            """
            Answer completion and chat completion requests over HTTP, in the form of OpenAI's API. Ctrl-C lets the requests
            under way end, for 30 seconds at most, and exits with 0; a second one ends it at once.
            """,
            "./sapo serve --model runs/out/quickstart/final",
            "./sapo serve --model SmolLM2-135M-Instruct --port 8080 --slots 16")
        { model, host, port, name };
        var engine = new SamplingArguments();
        engine.AddEngineTo(command);
        command.SetAction(async (parsed, cancel) =>
        {
            var address = Address(parsed.GetRequiredValue(host));
            var number = parsed.GetValue(port);
            if (number is < 0 or > LargestPort) throw new UserErrorException($"--port is {number}", $"0 to {LargestPort}", "Correct the command line");
            var folder = parsed.GetRequiredValue(model);
            var options = engine.Engine(parsed);
            ExecutionProvider.Check(options);
            using var served = ServedModel.Open(folder, PrecisionNames.Parse(options.Precision), Console.Error.WriteLine);
            var tokenizer = HuggingFaceTokenizer.Load(served.Policy.Folder);
            var threads = engine.Threads(parsed) ?? ThreadBudget.ForMachine(overlapped: false).EngineThreads;
            await using var rollout = await ServedEngine.StartAsync(served, options, threads, tokenizer, trace: null, Console.Error.WriteLine, cancel);
            var service = new CompletionService(rollout, tokenizer, served.Policy, parsed.GetValue(name) ?? NameOf(folder), FreshSeed, TimeProvider.System);
            await using var server = await HttpServer.StartAsync(service, address, number, Console.Error.WriteLine, cancel);
            if (!IPAddress.IsLoopback(address)) Console.Error.WriteLine($"warning: {address} can be reached from other machines, and there is no authentication: whoever reaches it may use the model.");
            Console.WriteLine($"Serving {service.Model} at {server.Address}v1 (Ctrl-C ends it)");
            await server.RunAsync(Patience, cancel);
            return 0;
        });
        return command;
    }

    private static IPAddress Address(string host) =>
        host == "localhost" ? IPAddress.Loopback
        : IPAddress.TryParse(host, out var address) ? address
        : throw new UserErrorException($"--host is \"{host}\"", "an IP address of this machine, such as 127.0.0.1, or localhost", "Correct the command line");

    /// <summary>The folder's name; of a run's final folder, the run's.</summary>
    private static string NameOf(string folder)
    {
        var full = new DirectoryInfo(Path.GetFullPath(folder));
        return full is { Name: "final", Parent: { } run } ? run.Name : full.Name;
    }

    private static long FreshSeed() => BitConverter.ToInt64(RandomNumberGenerator.GetBytes(sizeof(long)));
}

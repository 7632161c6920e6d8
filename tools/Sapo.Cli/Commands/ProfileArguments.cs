using System.CommandLine;
using Sapo.Core;
using Sapo.Hybrid.Profiling;

namespace Sapo.Cli.Commands;

/// <summary>The options that both <c>profile</c> commands have.</summary>
internal sealed class ProfileArguments
{
    private readonly Option<string?> _model = new("--model") { Description = "A published policy or a Hugging Face folder", HelpName = "folder" };
    private readonly Option<string?> _shape = new("--shape") { Description = $"Or a shape with random weights: {string.Join(", ", ModelShapes.Names)}", HelpName = "name" };
    private readonly Option<int?> _threads = new("--threads") { Description = "Threads. Default: every core" };
    private readonly Option<string> _out = new("--out") { Description = "Where the numbers are saved, as JSON and as Markdown", DefaultValueFactory = _ => Path.Combine("runs", "out", "profile"), HelpName = "folder" };

    public void AddTo(Command command)
    {
        foreach (var option in (Option[])[_model, _shape, _threads, _out]) command.Options.Add(option);
    }

    /// <summary>Opens the model, after everything that can be wrong with the command line was looked at.</summary>
    public ProfiledModel Open(ParseResult parsed)
    {
        Threads(parsed);
        ProfileFiles.Prepare(Out(parsed));
        return ProfiledModel.Open(parsed.GetValue(_model), parsed.GetValue(_shape), Console.Error.WriteLine);
    }

    public string Out(ParseResult parsed) => parsed.GetRequiredValue(_out);

    public int? Threads(ParseResult parsed) => parsed.GetValue(_threads) switch
    {
        < 1 => throw new UserErrorException("--threads is below 1", "at least 1", "Correct the command line"),
        var threads => threads,
    };
}

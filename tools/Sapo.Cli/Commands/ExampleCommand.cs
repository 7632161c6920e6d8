using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Sapo.Cli.Commands;

/// <summary>A command whose help ends with examples.</summary>
internal sealed class ExampleCommand(string name, string description, params IReadOnlyList<string> examples) : Command(name, description)
{
    /// <summary>Command lines that work as they are.</summary>
    public IReadOnlyList<string> Examples => examples;

    /// <summary>Adds the examples to the help of every command below a root.</summary>
    public static void ShowIn(RootCommand root)
    {
        var help = root.Options.OfType<HelpOption>().Single();
        help.Action = new HelpWithExamples((HelpAction)help.Action!);
    }

    private sealed class HelpWithExamples(HelpAction help) : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parsed)
        {
            var code = help.Invoke(parsed);
            if (parsed.CommandResult.Command is ExampleCommand { Examples.Count: > 0 } command)
                parsed.InvocationConfiguration.Output.WriteLine($"Examples:\n  {string.Join("\n  ", command.Examples)}\n");
            return code;
        }
    }
}

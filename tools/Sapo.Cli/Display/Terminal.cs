using Spectre.Console;

namespace Sapo.Cli.Display;

/// <summary>Where results go: with colours and the window's width in a terminal, plain and wide in a pipe or a file.</summary>
internal static class Terminal
{
    private const int WidthOfFiles = 160;

    /// <summary>Standard output.</summary>
    public static IAnsiConsole Output { get; } = Create();

    private static IAnsiConsole Create()
    {
        var redirected = Console.IsOutputRedirected;
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = redirected ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = redirected ? ColorSystemSupport.NoColors : ColorSystemSupport.Detect,
            Interactive = redirected ? InteractionSupport.No : InteractionSupport.Detect,
        });
        if (redirected) console.Profile.Width = WidthOfFiles;
        return console;
    }
}

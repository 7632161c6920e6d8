using System.CommandLine;

namespace Sapo.Cli.Commands;

internal static class ProfileCommand
{
    public static Command Create() => new("profile", "Measure how fast this machine samples and learns, and where the time goes.")
    {
        ProfileRolloutCommand.Create(),
        ProfileLearnerCommand.Create(),
    };
}

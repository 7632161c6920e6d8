using System.Globalization;
using Sapo.Hybrid.Runs;

namespace Sapo.Cli.Display;

/// <summary>What is said when a run has ended.</summary>
internal static class ResultText
{
    public static void Write(TextWriter console, RunOutcome outcome)
    {
        if (outcome.WasFinished) console.WriteLine("This run is finished already. --fresh begins it again, another --out keeps it.");
        if (outcome is { Before: { } before, After: { } after })
            console.WriteLine(
                $"pass@1 on {after.Problems} held-out problems: {Share(before.PassAt1)} before, {Share(after.PassAt1)} after.");
        console.WriteLine($"Report: {Path.Combine(outcome.Folder, "report.html")}");
        console.WriteLine($"Model:  {Path.Combine(outcome.Folder, "final")}");
    }

    /// <summary>A share with its interval, in percent.</summary>
    public static string Share(ShareWithInterval share) =>
        $"{100 * share.Value:0.0}% (95%: {100 * share.Low:0.0} to {100 * share.High:0.0})";
}

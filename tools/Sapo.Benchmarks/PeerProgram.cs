using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Sapo.Core;

namespace Sapo.Benchmarks;

/// <summary>Another program that trains the same model on as many tokens and prints how many per second.</summary>
/// <param name="command">Its command line, with {model}, {batch} and {sequence} to be filled in; run by the shell, with this program's BLAS kernels and number of threads.</param>
/// <param name="pattern">Finds the number in what it prints: its first group.</param>
internal sealed class PeerProgram(string command, string pattern)
{
    /// <summary>What a program prints that writes <c>"train_tok_s": {"median": 123.4</c>.</summary>
    public const string DefaultPattern = """"train_tok_s": \{"median": ([0-9.]+)"""";

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(30), MatchTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Tokens per second of one call.</summary>
    /// <param name="model">A Hugging Face folder.</param>
    /// <param name="batch">Sequences.</param>
    /// <param name="sequence">Tokens of each.</param>
    /// <param name="cancel">Ends the program.</param>
    /// <exception cref="UserErrorException">It fails, takes too long, or prints no such number.</exception>
    public async Task<double> TokensPerSecondAsync(string model, int batch, int sequence, CancellationToken cancel)
    {
        var filled = command.Replace("{model}", $"'{model}'", StringComparison.Ordinal).Replace("{batch}", $"{batch}", StringComparison.Ordinal)
            .Replace("{sequence}", $"{sequence}", StringComparison.Ordinal);
        var start = new ProcessStartInfo("/bin/sh", ["-c", filled]) { RedirectStandardOutput = true, UseShellExecute = false };
        start.Environment["OPENBLAS_NUM_THREADS"] = Environment.GetEnvironmentVariable("OMP_NUM_THREADS"); // it leaves products to the BLAS's threads, which ours does not use
        using var process = Process.Start(start)!;
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        patience.CancelAfter(Patience);
        try
        {
            var output = await process.StandardOutput.ReadToEndAsync(patience.Token);
            await process.WaitForExitAsync(patience.Token);
            var found = Regex.Match(output, pattern, RegexOptions.None, MatchTimeout);
            if (process.ExitCode == 0 && double.TryParse(found.Groups[1].Value, CultureInfo.InvariantCulture, out var rate) && rate > 0) return rate;
            throw new UserErrorException($"`{filled}` ended with {process.ExitCode} and printed \"{output.Trim()}\"", $"exit code 0 and a number that {pattern} finds", "Correct --peer or --peer-pattern");
        }
        finally
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
        }
    }
}

using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Sapo.Core;
using Sapo.Hybrid.Profiling;

namespace Sapo.Benchmarks;

/// <summary>llama.cpp's llama-batched-bench on the same shape, where it was built: --llama names the program, --gguf a model of the shape.</summary>
/// <param name="Program">The program.</param>
/// <param name="Model">The model in GGUF, F32.</param>
internal sealed record LlamaBenchmark(string Program, string Model)
{
    private static readonly TimeSpan Deadline = TimeSpan.FromMinutes(30);

    /// <summary>Runs one number of sequences.</summary>
    /// <returns>Decoded tokens per second.</returns>
    /// <exception cref="UserErrorException">The program failed, or prints something else.</exception>
    public async Task<double> DecodeTokensPerSecondAsync(RolloutWorkload workload, int threads, CancellationToken cancel)
    {
        string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
        var start = new ProcessStartInfo(
            Program,
            [
                "-m", Model, "-c", Number(workload.Slots * (workload.PromptTokens + workload.NewTokens)), "-npp", Number(workload.PromptTokens), "-ntg", Number(workload.NewTokens),
                "-npl", Number(workload.Slots), "-t", Number(threads), "-tb", Number(threads), "-ctk", "f32", "-ctv", "f32", "--output-format", "jsonl",
            ])
        { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        using var process = Process.Start(start) ?? throw Failed("did not start");
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timer.CancelAfter(Deadline);
        var errors = process.StandardError.ReadToEndAsync(timer.Token);
        try
        {
            var output = await process.StandardOutput.ReadToEndAsync(timer.Token);
            await process.WaitForExitAsync(timer.Token);
            if (process.ExitCode != 0) throw Failed((await errors).Split('\n').LastOrDefault(line => line.Length > 0) ?? "failed");
            return RateIn(output) ?? throw Failed($"printed no speed: {output.TrimEnd()}");
        }
        finally
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
        }
    }

    /// <summary>What its last line says, such as <c>{"pl": 16, "speed_tg": 398.0, ...}</c>.</summary>
    private static double? RateIn(string output)
    {
        var begin = output.LastIndexOf('{');
        var end = output.LastIndexOf('}');
        if (begin < 0 || end < begin) return null;
        using var line = JsonDocument.Parse(output.AsMemory(begin, end - begin + 1));
        return line.RootElement.TryGetProperty("speed_tg", out var rate) ? rate.GetDouble() : null;
    }

    private UserErrorException Failed(string what) => new($"{Program} {what}", "llama-batched-bench of llama.cpp and a GGUF model", "Check --llama and --gguf");
}

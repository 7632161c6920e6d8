// The swap memory test's other process: this test assembly run as a program. In the test host, other tests' memory comes and
// goes; here there is one engine, so what grows is what swaps keep.
using System.Diagnostics;
using System.Globalization;
using Sapo.Core.Options;

namespace Sapo.Rollout.Tests.Policies;

/// <summary>Memory after some swaps.</summary>
/// <param name="Swaps">How many.</param>
/// <param name="ResidentBytes">Resident memory.</param>
/// <param name="OpenFiles">Open files.</param>
internal readonly record struct SwapMemory(int Swaps, long ResidentBytes, long OpenFiles)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Swaps} {ResidentBytes} {OpenFiles}");

    public static SwapMemory Parse(string line)
    {
        var numbers = line.Split(' ').Select(number => long.Parse(number, CultureInfo.InvariantCulture)).ToArray();
        return new SwapMemory((int)numbers[0], numbers[1], numbers[2]);
    }
}

/// <summary>Swaps versions under load and prints the memory.</summary>
internal static class SwapMemoryProcess
{
    public const int Swaps = 200, Every = 25;

    private static async Task Main()
    {
        using var model = new TinyModel();
        var versions = new[] { model.Version(1, seed: 2), model.Version(2, seed: 3) };
        await using var engine = await RolloutEngine.StartAsync(model.Policy, new EngineOptions { Slots = 4, MaxSequenceLength = 64 }, threads: 2, tokenizer: null, default);
        using var cancel = new CancellationTokenSource();
        var load = Load(engine, cancel.Token);
        for (var swap = 1; swap <= Swaps; swap++)
        {
            var next = versions[swap % 2];
            await engine.SwapAsync(next with { Manifest = next.Manifest with { Version = swap } }, default);
            if (swap % Every == 0) Console.WriteLine(Now(swap));
        }
        await cancel.CancelAsync();
        try
        {
            await load;
        }
        catch (OperationCanceledException)
        {
            // that is how the load ends
        }
        if (engine.Counters.Swaps != Swaps) throw new InvalidOperationException($"{engine.Counters.Swaps} swaps were counted.");
    }

    private static async Task Load(RolloutEngine engine, CancellationToken cancel)
    {
        for (var id = 0; ; id++)
            await engine.GenerateAsync(new Prompt { Id = id, TokenIds = [5, 6, 7] }, 4, new SamplingOptions { MaxNewTokens = 30, StopTokenIds = [] }, cancel);
    }

    private static SwapMemory Now(int swaps)
    {
        using var process = Process.GetCurrentProcess();
        var files = OperatingSystem.IsLinux() ? Directory.EnumerateFileSystemEntries("/proc/self/fd").LongCount() : 0;
        return new SwapMemory(swaps, process.WorkingSet64, files);
    }
}

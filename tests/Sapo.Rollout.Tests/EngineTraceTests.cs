using System.Text.Json;
using Sapo.Core.Options;

namespace Sapo.Rollout.Tests;

public sealed class EngineTraceTests(TinyModel model) : IClassFixture<TinyModel>
{
    [Fact]
    public async Task Save_BusyEngineWithASwap_IsAValidTrace()
    {
        var trace = new EngineTrace(TimeProvider.System);
        var options = new EngineOptions { Slots = 4, MaxSequenceLength = 48 };
        await using (var engine = await RolloutEngine.StartAsync(model.Policy, options, threads: 1, tokenizer: null, trace, default))
        {
            await Ask(engine);
            await engine.SwapAsync(model.Version(1, seed: 2), default);
            await Ask(engine);
            Assert.Equal(0, trace.Dropped);
        }
        var path = Path.Combine(Directory.CreateTempSubdirectory("sapo-trace-").FullName, "trace.json");
        trace.Save(path);
        using var document = JsonDocument.Parse(await File.ReadAllBytesAsync(path));
        Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);

        var events = document.RootElement.GetProperty("traceEvents").EnumerateArray().ToList();
        var threads = events.Where(item => Phase(item) == "M").ToDictionary(item => item.GetProperty("tid").GetInt32(), item => item.GetProperty("args").GetProperty("name").GetString());
        Assert.Equal(["engine", "swap"], threads.Values.Order(StringComparer.Ordinal));
        var complete = events.Where(item => Phase(item) == "X").ToList();
        Assert.All(complete, item =>
        {
            Assert.True(item.GetProperty("ts").GetDouble() >= 0 && item.GetProperty("dur").GetDouble() >= 0);
            Assert.Contains(item.GetProperty("tid").GetInt32(), threads.Keys);
        });
        Assert.Equal(
            ["copy", "decode step", "load", "prefill", "probe", "retire", "switch", "turn"],
            complete.Select(item => item.GetProperty("name").GetString()!).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal));
        Assert.Equal(2, complete.Count(item => Name(item) == "prefill")); // once per group and version
        Assert.Equal(8, complete.Count(item => Name(item) == "copy"));
        Assert.Equal(20, complete.Count(item => Name(item) == "decode step"));
        Assert.All(events.Where(item => Phase(item) == "C"), item => Assert.InRange(item.GetProperty("args").GetProperty("busy slots").GetInt32(), 0, 4));
        foreach (var step in complete.Where(item => Name(item) == "decode step"))
            Assert.Contains(complete, turn => Name(turn) == "turn" && Start(turn) <= Start(step) && End(step) <= End(turn) + 1e-6); // steps lie within turns
    }

    [Fact]
    public void Save_FolderIsAFile_IsOneMessage()
    {
        var file = Path.GetTempFileName();
        var error = Assert.Throws<UserErrorException>(() => EngineTrace.To(Path.Combine(file, "trace.json"), TimeProvider.System));
        File.Delete(file);
        Assert.Contains("--trace", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void To_NoFile_IsNoTrace() => Assert.Null(EngineTrace.To(null, TimeProvider.System));

    private static Task<RolloutGroup> Ask(RolloutEngine engine) => engine.GenerateAsync(
        new Prompt { Id = 1, TokenIds = [5, 6, 7, 8] }, 4, new SamplingOptions { MaxNewTokens = 10, StopTokenIds = [] }, default);

    private static string Phase(JsonElement item) => item.GetProperty("ph").GetString()!;

    private static string Name(JsonElement item) => item.GetProperty("name").GetString()!;

    private static double Start(JsonElement item) => item.GetProperty("ts").GetDouble();

    private static double End(JsonElement item) => Start(item) + item.GetProperty("dur").GetDouble();
}

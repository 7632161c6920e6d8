// A server of its own per test: clients that hang up, servers that end.
using System.Net;
using System.Text.Json;
using Sapo.Cli.Serving;

namespace Sapo.Cli.Tests.Serving;

public sealed class ServerLifeTests : IAsyncLifetime
{
    private const int LongTokens = 16000;

    private const string Completions = "/v1/completions";
    private static readonly TimeSpan Forever = TimeSpan.FromMinutes(5); // a hung test fails instead of blocking the run

    private readonly RunningServer _server = new();

    public Task InitializeAsync() => _server.InitializeAsync();

    public Task DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task Stream_ClientHangsUp_FreesItsSlots()
    {
        using (var response = await _server.SendAsync(HttpMethod.Post, Completions, Long(LongTokens)))
        {
            await using var stream = await response.Content.ReadAsStreamAsync();
            Assert.NotEqual(-1, stream.ReadByte()); // it has begun
        }
        await _server.AskAsync(Completions, """{"prompt": "2", "max_tokens": 3, "n": 4}"""); // needs all slots
        var tokens = _server.Engine.Counters.GeneratedTokens;
        Assert.InRange(tokens, 1, (4 * LongTokens) - 1);
        await Task.Delay(50);
        Assert.Equal(tokens, _server.Engine.Counters.GeneratedTokens); // and nothing goes on behind it
        Assert.Equal(4, _server.Engine.Counters.Completions); // the others never came to their end
    }

    [Fact]
    public async Task Run_Cancelled_LetsAnswersEndAndRefusesNewOnes()
    {
        using var stop = new CancellationTokenSource();
        var running = _server.Server.RunAsync(Forever, stop.Token);
        using var response = await _server.SendAsync(HttpMethod.Post, Completions, Long(1000));
        await stop.CancelAsync();
        using (var refused = await RefusedAsync())
        {
            var error = JsonSerializer.Deserialize<JsonElement>(await refused.Content.ReadAsStringAsync()).GetProperty("error");
            Assert.Equal("shutting_down", error.GetProperty("code").GetString());
        }
        Assert.False(running.IsCompleted);
        Assert.EndsWith("data: [DONE]\n\n", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        await running.WaitAsync(Forever);
        await Assert.ThrowsAsync<HttpRequestException>(() => _server.SendAsync(HttpMethod.Get, "/health"));
    }

    [Fact]
    public async Task Run_CancelledWithoutPatience_EndsTheStreamWithAnError()
    {
        using var stop = new CancellationTokenSource();
        var running = _server.Server.RunAsync(TimeSpan.Zero, stop.Token);
        using var response = await _server.SendAsync(HttpMethod.Post, Completions, Long(LongTokens));
        await stop.CancelAsync();
        Assert.Contains("shutting_down", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        await running.WaitAsync(Forever);
    }

    [Fact]
    public async Task Run_CancelledWhileAClientDoesNotRead_StillEndsItsStreamWithAnError()
    {
        using var stop = new CancellationTokenSource();
        var running = _server.Server.RunAsync(TimeSpan.Zero, stop.Token);
        using var response = await _server.SendAsync(HttpMethod.Post, Completions, Long(LongTokens, ", \"logprobs\": 5"));
        // Nobody reads: a megabyte fills every buffer on its way, and the server waits within a write.
        await Waiting.UntilAsync(() => _server.Engine.Counters.GeneratedTokens >= 2000, () => "tokens that fill the buffers");
        await stop.CancelAsync();
        Assert.Contains("shutting_down", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        await running.WaitAsync(Forever);
    }

    [Fact]
    public async Task RequestGate_Closed_OpensForNobodyAndWaitsForThoseInside()
    {
        var gate = new RequestGate();
        Assert.True(gate.TryEnter());
        var empty = gate.CloseAsync();
        Assert.False(gate.TryEnter());
        Assert.False(empty.IsCompleted);
        gate.Leave();
        await empty.WaitAsync(Forever);
    }

    /// <summary>A stream on all slots. Greedy decoding of this model does not end by itself: the stream is under way while a test acts.</summary>
    private static string Long(int tokens, string more = "") =>
        $$"""{"prompt": "1+", "temperature": 0, "max_tokens": {{tokens}}, "n": {{RunningServer.Slots}}, "stream": true{{more}}}""";

    /// <summary>Asks until the server, which closes its gate a moment after being told to, refuses.</summary>
    private async Task<HttpResponseMessage> RefusedAsync()
    {
        while (true)
        {
            var response = await _server.SendAsync(HttpMethod.Get, "/health");
            if (response.StatusCode == HttpStatusCode.ServiceUnavailable) return response;
            response.Dispose();
        }
    }
}

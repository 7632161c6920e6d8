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
        var text = response.Content.ReadAsStringAsync(); // as clients of a stream do: what is unread when the server goes may be lost
        await stop.CancelAsync();
        await running.WaitAsync(Forever);
        Assert.Contains("shutting_down", await text, StringComparison.Ordinal);
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
    private static string Long(int tokens) => $$"""{"prompt": "1+", "temperature": 0, "max_tokens": {{tokens}}, "n": {{RunningServer.Slots}}, "stream": true}""";

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

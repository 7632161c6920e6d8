using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Sapo.Cli.Serving;
using Sapo.Core.Options;
using Sapo.Hybrid.Serving;
using Sapo.Rollout;
using Sapo.Rollout.Tokenization;
using Sapo.Sync;

namespace Sapo.Cli.Tests.Serving;

/// <summary>A server on a free port of the loopback, and a client of it.</summary>
public sealed class RunningServer : IAsyncLifetime
{
    public const int Slots = 4;

    // A client that gives an answer up is gone at once instead of reading on, one that may be refused waits for that,
    // and one that does not read holds its server up soon.
    private static readonly HttpClient Client = new(new SocketsHttpHandler
    {
        MaxResponseDrainSize = 0,
        Expect100ContinueTimeout = TimeSpan.FromMinutes(5),
        ConnectCallback = ConnectWithSmallBufferAsync,
    });

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sapo-serve-");
    private long _seeds = 1000;

    public RolloutEngine Engine { get; private set; } = null!;

    public HuggingFaceTokenizer Tokenizer { get; private set; } = null!;

    internal HttpServer Server { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        var policy = PolicyImporter.Import(TinyChatModel.Create(Path.Combine(_folder.FullName, "model")), Path.Combine(_folder.FullName, "policy"));
        Tokenizer = HuggingFaceTokenizer.Load(policy.Folder);
        Engine = await RolloutEngine.StartAsync(policy, new EngineOptions { Slots = Slots }, threads: 1, Tokenizer, CancellationToken.None);
        var service = new CompletionService(Engine, Tokenizer, policy, "tiny", () => Interlocked.Increment(ref _seeds), TimeProvider.System);
        Server = await HttpServer.StartAsync(service, IPAddress.Loopback, 0, _ => { }, CancellationToken.None);
    }

    public async Task DisposeAsync()
    {
        await Server.DisposeAsync();
        await Engine.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    /// <summary>Sends a request; the answer's headers are there when it returns.</summary>
    public async Task<HttpResponseMessage> SendAsync(HttpMethod method, string path, string? json = null, string type = "application/json")
    {
        using var request = new HttpRequestMessage(method, new Uri(Server.Address, path));
        if (json is not null)
        {
            request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(json)) { Headers = { ContentType = new MediaTypeHeaderValue(type) } };
            request.Headers.ExpectContinue = json.Length > 1 << 20; // so that a refusal is read before all is sent
        }
        return await Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
    }

    private static async ValueTask<Stream> ConnectWithSmallBufferAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveBufferSize = 4096 };
        await socket.ConnectAsync(context.DnsEndPoint, cancel);
        return new NetworkStream(socket, ownsSocket: true);
    }

    /// <summary>A request that must succeed, its answer whole.</summary>
    public async Task<JsonElement> AskAsync(string path, string json)
    {
        using var response = await SendAsync(HttpMethod.Post, path, json);
        var text = await response.Content.ReadAsStringAsync();
        Assert.True(response.StatusCode == HttpStatusCode.OK, text);
        return JsonSerializer.Deserialize<JsonElement>(text);
    }

    /// <summary>A request for a stream, its chunks; the end mark must be there and last.</summary>
    public async Task<List<JsonElement>> StreamAsync(string path, string json)
    {
        using var response = await SendAsync(HttpMethod.Post, path, json);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        var events = (await response.Content.ReadAsStringAsync()).Split("\n\n");
        Assert.Equal("", events[^1]);
        Assert.Equal("data: [DONE]", events[^2]);
        Assert.All(events[..^1], line => Assert.StartsWith("data: ", line, StringComparison.Ordinal));
        return [.. events[..^2].Select(line => JsonSerializer.Deserialize<JsonElement>(line["data: ".Length..]))];
    }
}

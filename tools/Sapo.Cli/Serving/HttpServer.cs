// CompletionService over HTTP. Five paths do not need a framework's routing: one handler looks at method and path.
//
//   GET  /health                 is it up?
//   GET  /v1/models[/<name>]     the one model
//   POST /v1/completions         prompt -> text
//   POST /v1/chat/completions    messages -> message; both whole or as server-sent events
//
// Every error is OpenAI's error JSON. A client that hangs up cancels its request, which frees its slots.
using System.Net;
using System.Net.Sockets;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Sapo.Core;
using Sapo.Hybrid.Serving;
using Sapo.Rollout;

namespace Sapo.Cli.Serving;

/// <summary>A running HTTP server.</summary>
internal sealed class HttpServer : IAsyncDisposable
{
    /// <summary>Largest request, in bytes: a context of a million tokens fits.</summary>
    public const int MaxRequestBytes = 8 << 20;

    private static readonly JsonSerializerOptions Layout = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false };

    private readonly CompletionService _service;
    private readonly Action<string> _say;
    private readonly WebApplication _application;
    private readonly RequestGate _gate = new();
    private readonly CancellationTokenSource _abort = new();
    private readonly TaskCompletionSource<Exception> _engineFailed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private HttpServer(CompletionService service, Action<string> say, WebApplication application) => (_service, _say, _application) = (service, say, application);

    /// <summary>Where it listens, with the port it was given.</summary>
    public Uri Address => new(_application.Urls.Single());

    /// <summary>Starts listening.</summary>
    /// <param name="service">Answers; stays the caller's.</param>
    /// <param name="address">The network to listen on.</param>
    /// <param name="port">The port; 0 takes a free one.</param>
    /// <param name="say">Told of failures that are no client's mistake.</param>
    /// <param name="cancel">Cancels the start.</param>
    /// <exception cref="UserErrorException">Address or port cannot be used.</exception>
    public static async Task<HttpServer> StartAsync(CompletionService service, IPAddress address, int port, Action<string> say, CancellationToken cancel)
    {
        // Empty: neither environment variables nor an appsettings.json that happens to lie here change where it listens.
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(options =>
        {
            options.AddServerHeader = false;
            options.Limits.MaxRequestBodySize = MaxRequestBytes;
            options.Listen(address, port);
        });
        builder.Services.AddSingleton<IHostLifetime, CallersLifetime>();
        var server = new HttpServer(service, say, builder.Build());
        server._application.Run(server.HandleAsync);
        try
        {
            await server._application.StartAsync(cancel);
            return server;
        }
        catch (Exception failure) when (failure is IOException or SocketException)
        {
            await server.DisposeAsync();
            throw new UserErrorException($"{address} port {port} cannot be listened on: {failure.Message.TrimEnd('.')}", "an address of this machine and a free port", "Give another --port or --host", failure);
        }
    }

    /// <summary>Serves until cancelled; then refuses new requests and lets those under way end.</summary>
    /// <param name="patience">How long they may take; what is left then is cut off.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="RolloutException">The engine failed.</exception>
    public async Task RunAsync(TimeSpan patience, CancellationToken cancel)
    {
        var cancelled = Task.Delay(Timeout.Infinite, cancel);
        await Task.WhenAny(cancelled, _engineFailed.Task);
        try
        {
            await _gate.CloseAsync().WaitAsync(patience, TimeProvider.System, CancellationToken.None);
        }
        catch (TimeoutException)
        {
            await _abort.CancelAsync();
            await _gate.CloseAsync();
        }
        await _application.StopAsync(CancellationToken.None);
        if (_engineFailed.Task.IsCompleted) throw await _engineFailed.Task;
    }

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        await _abort.CancelAsync();
        await _application.DisposeAsync();
        _abort.Dispose();
    }

    private async Task HandleAsync(HttpContext context)
    {
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, _abort.Token);
        var isInside = _gate.TryEnter();
        try
        {
            if (!isInside) throw ServingException.Ending();
            await RouteAsync(context, cancel.Token);
        }
        catch (Exception failure)
        {
            if (!context.RequestAborted.IsCancellationRequested) await FailAsync(context.Response, Describe(failure));
        }
        finally
        {
            if (isInside) _gate.Leave();
        }
    }

    private Task RouteAsync(HttpContext context, CancellationToken cancel)
    {
        var path = context.Request.Path.Value ?? "";
        var method = path is "/v1/completions" or "/v1/chat/completions" ? "POST" : "GET";
        JsonObject? found = path switch
        {
            "/health" => new JsonObject { ["status"] = "ok" },
            "/v1/models" => new JsonObject { ["object"] = "list", ["data"] = new JsonArray(_service.DescribeModel()) },
            _ when path == "/v1/models/" + _service.Model => _service.DescribeModel(),
            _ when path.StartsWith("/v1/models/", StringComparison.Ordinal) =>
                throw ServingException.BadRequest($"There is no model \"{path["/v1/models/".Length..]}\"; this server has \"{_service.Model}\".", "model", "model_not_found", 404),
            _ when method == "POST" => null,
            _ => throw ServingException.BadRequest($"There is no {path}; this server has /v1/completions, /v1/chat/completions, /v1/models and /health.", code: "not_found", status: 404),
        };
        if (context.Request.Method != method)
            throw ServingException.BadRequest($"{path} is asked by {context.Request.Method}; expected {method}.", code: "method_not_allowed", status: 405);
        return found is null ? CompleteAsync(context, path == "/v1/chat/completions", cancel) : WriteAsync(context.Response, 200, found);
    }

    private async Task CompleteAsync(HttpContext context, bool chat, CancellationToken cancel)
    {
        // A web page of another origin cannot send this type without being asked to, so it cannot use the server behind its reader's back.
        if (!context.Request.HasJsonContentType())
            throw ServingException.BadRequest("The request has no JSON type; expected the header Content-Type: application/json.", code: "unsupported_media_type", status: 415);
        using var json = await JsonDocument.ParseAsync(context.Request.Body, Strict, cancel);
        await using var answer = await _service.StartAsync(json.RootElement, chat, cancel);
        if (!answer.IsStream)
        {
            await WriteAsync(context.Response, 200, await answer.WholeAsync(cancel));
            return;
        }
        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-cache";
        await foreach (var chunk in answer.ChunksAsync(cancel)) await SendEventAsync(context.Response, JsonSerializer.SerializeToUtf8Bytes(chunk, Layout));
        await SendEventAsync(context.Response, "[DONE]"u8.ToArray());
    }

    /// <summary>The answer to a failure; what is no client's mistake is also told to whoever runs the server.</summary>
    private ServingException Describe(Exception failure)
    {
        switch (failure)
        {
            case ServingException described: return described;
            case UserErrorException mistake: return ServingException.BadRequest(mistake.Message, cause: mistake);
            case JsonException broken: return ServingException.BadRequest($"The request is no JSON: {broken.Message}", code: "invalid_json", cause: broken);
            case BadHttpRequestException bad: return ServingException.BadRequest(bad.StatusCode == 413 ? $"The request is larger than {MaxRequestBytes:N0} bytes." : bad.Message, status: bad.StatusCode, cause: bad);
            case OperationCanceledException or ObjectDisposedException: return ServingException.Ending();
            case RolloutException: _engineFailed.TrySetResult(failure); return ServingException.Failed(failure);
            default: _say($"error: this should not have happened:\n{failure}"); return ServingException.Failed(failure);
        }
    }

    // Writing is never cancelled: Kestrel resets the connection of a write that is, and the error goes with it.
    // A client that hangs up ends its writes; one that does not read falls below Kestrel's lowest data rate.

    private static Task FailAsync(HttpResponse response, ServingException error) => response.HasStarted
        ? SendEventAsync(response, JsonSerializer.SerializeToUtf8Bytes(error.ToJson(), Layout))
        : WriteAsync(response, error.Status, error.ToJson());

    private static async Task WriteAsync(HttpResponse response, int status, JsonObject content)
    {
        response.StatusCode = status;
        response.ContentType = "application/json";
        await response.Body.WriteAsync(JsonSerializer.SerializeToUtf8Bytes(content, Layout), CancellationToken.None);
    }

    private static async Task SendEventAsync(HttpResponse response, byte[] content)
    {
        await response.Body.WriteAsync((byte[])[.. "data: "u8, .. content, .. "\n\n"u8], CancellationToken.None);
        await response.Body.FlushAsync(CancellationToken.None);
    }

    /// <summary>Leaves signals to the caller; the framework's own lifetime would take Ctrl-C away from it.</summary>
    private sealed class CallersLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}

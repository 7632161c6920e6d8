using System.Text.Json.Nodes;

namespace Sapo.Hybrid.Serving;

/// <summary>A request that is answered with an error: an HTTP status and the JSON that OpenAI's API describes it with.</summary>
public sealed class ServingException : Exception
{
    private readonly string _type;
    private readonly string? _member, _code;

    private ServingException(int status, string type, string message, string? member, string? code, Exception? cause)
        : base(message, cause) => (Status, _type, _member, _code) = (status, type, member, code);

    /// <summary>The HTTP status.</summary>
    public int Status { get; }

    /// <summary>Status 400, or another of the 4xx: something the client can mend.</summary>
    /// <param name="message">What was found and expected.</param>
    /// <param name="member">The member of the request concerned, or null.</param>
    /// <param name="code">A word programs can tell the error by, or null.</param>
    /// <param name="status">The HTTP status.</param>
    /// <param name="cause">The exception behind it, or null.</param>
    public static ServingException BadRequest(string message, string? member = null, string? code = null, int status = 400, Exception? cause = null) =>
        new(status, "invalid_request_error", message, member, code, cause);

    /// <summary>Status 503: the server is ending.</summary>
    public static ServingException Ending() => new(503, "server_error", "The server is shutting down. Ask again later.", null, "shutting_down", null);

    /// <summary>Status 500: the engine failed. The client is told no more: the cause may name files of the server, whose console has it.</summary>
    /// <param name="cause">Its failure.</param>
    public static ServingException Failed(Exception cause) => new(500, "server_error", "The server failed; its own messages say why.", null, "engine_failed", cause);

    /// <summary><c>{"error": {"message", "type", "param", "code"}}</c>.</summary>
    public JsonObject ToJson() => new()
    {
        ["error"] = new JsonObject { ["message"] = Message, ["type"] = _type, ["param"] = _member, ["code"] = _code },
    };
}

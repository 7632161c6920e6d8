using System.Net;
using System.Text.Json;
using Sapo.Cli.Serving;

namespace Sapo.Cli.Tests.Serving;

public sealed class ServerErrorTests(RunningServer server) : IClassFixture<RunningServer>
{
    private const string Completions = "/v1/completions", Chat = "/v1/chat/completions";

    [Theory]
    [InlineData("not json", "no JSON", null)]
    [InlineData("[1]", "expected an object", null)]
    [InlineData("""{"prompt": "1", "prompt": "2"}""", "no JSON", null)]
    [InlineData("{}", "no prompt", "prompt")]
    [InlineData("""{"prompt": ""}""", "none of them empty", "prompt")]
    [InlineData("""{"prompt": []}""", "none of them empty", "prompt")]
    [InlineData("""{"prompt": [[]]}""", "none of them empty", "prompt")]
    [InlineData("""{"prompt": [1.5]}""", "token ids", "prompt")]
    [InlineData("""{"prompt": {"a": 1}}""", "token ids", "prompt")]
    [InlineData("""{"prompt": [1, 98]}""", "ids from 0 to 97", null)]
    [InlineData("""{"prompt": "é"}""", "has no token", null)]
    [InlineData("""{"prompt": "\ud800"}""", "", null)]
    [InlineData("""{"prompt": "1", "max_tokens": 0}""", "from 1 to", "max_tokens")]
    [InlineData("""{"prompt": "1", "max_tokens": "ten"}""", "expected a whole number", "max_tokens")]
    [InlineData("""{"prompt": "1", "n": 129}""", "from 1 to 128", "n")]
    [InlineData("""{"prompt": "1", "temperature": -1}""", "expected a number", "temperature")]
    [InlineData("""{"prompt": "1", "temperature": "NaN"}""", "expected a number", "temperature")]
    [InlineData("""{"prompt": "1", "top_p": 0}""", "above 0", "top_p")]
    [InlineData("""{"prompt": "1", "top_k": 99}""", "vocabulary's 98", null)]
    [InlineData("""{"prompt": "1", "min_p": 2}""", "from 0 to 1", "min_p")]
    [InlineData("""{"prompt": "1", "seed": 1.5}""", "whole number of 64 bits", "seed")]
    [InlineData("""{"prompt": "1", "stop": ["a", ""]}""", "none of them empty", "stop")]
    [InlineData("""{"prompt": "1", "stop": [1]}""", "a list of texts", "stop")]
    [InlineData("""{"prompt": "1", "logprobs": 6}""", "from 0 to 5", "logprobs")]
    [InlineData("""{"prompt": "1", "frequency_penalty": 2.5}""", "from -2 to 2", "frequency_penalty")]
    [InlineData("""{"prompt": "1", "repetition_penalty": 0}""", "above 0", "repetition_penalty")]
    [InlineData("""{"prompt": "1", "stream": "yes"}""", "true or false", "stream")]
    [InlineData("""{"prompt": "1", "stream_options": {}}""", "without \"stream\"", "stream_options")]
    [InlineData("""{"prompt": "1", "stream": true, "stream_options": {"include_usge": true}}""", "nearest known one is include_usage", "include_usge")]
    [InlineData("""{"prompt": "1", "temprature": 1}""", "nearest known one is temperature", "temprature")]
    [InlineData("""{"prompt": "1", "echo": true}""", "echo is not supported", "echo")]
    [InlineData("""{"prompt": "1", "presence_penalty": -3}""", "from -2 to 2", "presence_penalty")]
    [InlineData("""{"prompt": "1", "logit_bias": {"5": 1}}""", "logit_bias is not supported", "logit_bias")]
    public async Task Completions_Wrong_AreRefusedByName(string json, string message, string? member) =>
        await AssertRefusedAsync(Completions, json, 400, message, member);

    [Theory]
    [InlineData("""{"messages": []}""", "at least one message", "messages")]
    [InlineData("""{"messages": ["Hi"]}""", "an object with a role", "messages")]
    [InlineData("""{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}""", "reads text only", "messages")]
    [InlineData("""{"messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function"}]}""", "tools is not supported", "tools")]
    [InlineData("""{"messages": [{"role": "user", "content": "Hi"}], "response_format": {"type": "json_object"}}""", "response_format is not supported", "response_format")]
    [InlineData("""{"messages": [{"role": "user", "content": "Hi"}], "top_logprobs": 2}""", "without \"logprobs\"", "top_logprobs")]
    [InlineData("""{"messages": [{"role": "user", "content": "Hi"}], "logprobs": true, "top_logprobs": 21}""", "from 0 to 20", "top_logprobs")]
    [InlineData("""{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "max_completion_tokens": 3}""", "expected one of them", "max_tokens")]
    [InlineData("""{"prompt": "1"}""", "no member prompt", "prompt")]
    public async Task Chat_Wrong_IsRefusedByName(string json, string message, string member) => await AssertRefusedAsync(Chat, json, 400, message, member);

    [Fact]
    public async Task Completions_PromptLongerThanTheContext_IsRefusedAndNothingOfTheRequestRuns()
    {
        var tokens = server.Engine.Counters.GeneratedTokens;
        await AssertRefusedAsync(Completions, $$"""{"prompt": ["1", "{{new string('1', TinyChatModel.Positions)}}"], "stream": true, "max_tokens": 500}""", 400, $"{TinyChatModel.Positions + 1:N0} tokens", null);
        await server.AskAsync(Completions, """{"prompt": "1", "max_tokens": 1}""");
        Assert.InRange(server.Engine.Counters.GeneratedTokens - tokens, 1, 100); // the first prompt was given up
    }

    [Theory]
    [InlineData("""{"user": "me", "metadata": {"a": "b"}, "store": false, "presence_penalty": 0, "logit_bias": {}, "best_of": null, "stop": null, "n": null}""")]
    [InlineData("""{"suffix": null, "echo": false, "frequency_penalty": 0.0, "response_format": { "type": "text" }}""")]
    public async Task Completions_MembersThatChangeNothing_AreAccepted(string json) =>
        await server.AskAsync(Completions, """{"prompt": "1", "max_tokens": 1, """ + json[1..]);

    [Theory]
    [InlineData("GET", "/v1/engines", 404, "no /v1/engines")]
    [InlineData("GET", "/v1/models/other", 404, "no model \"other\"")]
    [InlineData("GET", "/v1/completions", 405, "expected POST")]
    [InlineData("POST", "/health", 405, "expected GET")]
    public async Task Path_Wrong_IsRefused(string method, string path, int status, string message)
    {
        using var response = await server.SendAsync(new HttpMethod(method), path, method == "POST" ? "{}" : null);
        await AssertErrorAsync(response, status, message, path == "/v1/models/other" ? "model" : null);
    }

    [Fact]
    public async Task Model_Other_IsNotFound() => await AssertRefusedAsync(Chat, """{"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]}""", 404, "this server has \"tiny\"", "model");

    [Fact]
    public async Task Body_OfAnotherTypeOrTooLarge_IsRefused()
    {
        using var form = await server.SendAsync(HttpMethod.Post, Completions, """{"prompt": "1"}""", "text/plain");
        await AssertErrorAsync(form, 415, "application/json", null);
        using var large = await server.SendAsync(HttpMethod.Post, Completions, $$"""{"prompt": "{{new string('1', HttpServer.MaxRequestBytes)}}"}""");
        await AssertErrorAsync(large, 413, "larger than", null);
    }

    [Fact]
    public async Task ModelsAndHealth_Answer()
    {
        using var models = await server.SendAsync(HttpMethod.Get, "/v1/models");
        var list = JsonSerializer.Deserialize<JsonElement>(await models.Content.ReadAsStringAsync());
        Assert.Equal("tiny", Assert.Single(list.GetProperty("data").EnumerateArray()).GetProperty("id").GetString());
        using var model = await server.SendAsync(HttpMethod.Get, "/v1/models/tiny");
        Assert.Equal(HttpStatusCode.OK, model.StatusCode);
        using var health = await server.SendAsync(HttpMethod.Get, "/health");
        Assert.Equal(HttpStatusCode.OK, health.StatusCode);
    }

    private async Task AssertRefusedAsync(string path, string json, int status, string message, string? member)
    {
        using var response = await server.SendAsync(HttpMethod.Post, path, json);
        await AssertErrorAsync(response, status, message, member);
    }

    private static async Task AssertErrorAsync(HttpResponseMessage response, int status, string message, string? member)
    {
        var text = await response.Content.ReadAsStringAsync();
        Assert.True(status == (int)response.StatusCode, text);
        var error = JsonSerializer.Deserialize<JsonElement>(text).GetProperty("error");
        Assert.Contains(message, error.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.DoesNotContain(Path.GetTempPath(), text, StringComparison.Ordinal); // where the model lies is no client's business
        Assert.Equal("invalid_request_error", error.GetProperty("type").GetString());
        Assert.Equal(member, error.GetProperty("param").GetString());
        Assert.True(error.TryGetProperty("code", out _));
    }
}

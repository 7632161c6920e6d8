using System.Text.Json;

namespace Sapo.Cli.Tests.Serving;

public sealed class ChatTests(RunningServer server) : IClassFixture<RunningServer>
{
    private const string Path = "/v1/chat/completions";

    [Theory]
    [InlineData("""{"role": "user", "content": "Hi"}""", "", "user: Hi;assistant:")]
    [InlineData("""{"role": "system", "content": "Be"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]}""", "", "system: Be;user: Hi!;assistant:")]
    [InlineData("""{"role": "user", "content": "Hi"}""", ", \"chat_template_kwargs\": {\"enable_thinking\": true}", "user: Hi;assistant: hm")]
    public async Task Chat_Messages_GoThroughTheTemplate(string messages, string members, string rendered)
    {
        var chat = await server.AskAsync(Path, $$"""{"model": "tiny", "messages": [{{messages}}], "max_completion_tokens": 20, "seed": 4{{members}}}""");
        var plain = await server.AskAsync("/v1/completions", $$"""{"prompt": "{{rendered}}", "max_tokens": 20, "seed": 4}""");
        var choice = chat.GetProperty("choices")[0];
        Assert.Equal("assistant", choice.GetProperty("message").GetProperty("role").GetString());
        Assert.Equal(plain.GetProperty("choices")[0].GetProperty("text").GetString(), choice.GetProperty("message").GetProperty("content").GetString());
        Assert.Equal(rendered.Length + 1, chat.GetProperty("usage").GetProperty("prompt_tokens").GetInt32()); // and the begin token
        Assert.Equal("chat.completion", chat.GetProperty("object").GetString());
        Assert.Equal(JsonValueKind.Null, choice.GetProperty("logprobs").ValueKind);
    }

    [Fact]
    public async Task Chat_Streamed_IsTheWholeOneInDeltas()
    {
        const string Members = """ "messages": [{"role": "user", "content": "Hi"}], "n": 3, "max_tokens": 30, "seed": 5, "logprobs": true""";
        var whole = (await server.AskAsync(Path, $$"""{{{Members}}}""")).GetProperty("choices").EnumerateArray().ToList();
        var chunks = await server.StreamAsync(Path, $$"""{{{Members}}, "stream": true}""");
        Assert.All(chunks, chunk => Assert.Equal("chat.completion.chunk", chunk.GetProperty("object").GetString()));
        Assert.Single(chunks.Select(chunk => chunk.GetProperty("id").GetString()).Distinct(StringComparer.Ordinal));
        var deltas = chunks.SelectMany(chunk => chunk.GetProperty("choices").EnumerateArray()).ToLookup(choice => choice.GetProperty("index").GetInt32());
        for (var i = 0; i < whole.Count; i++)
        {
            Assert.Equal("assistant", deltas[i].First().GetProperty("delta").GetProperty("role").GetString());
            Assert.Equal(
                whole[i].GetProperty("message").GetProperty("content").GetString(),
                string.Concat(deltas[i].Select(choice => choice.GetProperty("delta").TryGetProperty("content", out var content) ? content.GetString() : "")));
            Assert.Equal(whole[i].GetProperty("finish_reason").GetString(), deltas[i].Last().GetProperty("finish_reason").GetString());
            Assert.Equal(LogProbs(whole[i]), deltas[i].SelectMany(LogProbs));
            Assert.NotEmpty(LogProbs(whole[i]));
        }
    }

    [Fact]
    public async Task Chat_TopLogProbs_AreTheMostLikelyTokensInOrder()
    {
        var answer = await server.AskAsync(Path, """{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "temperature": 0, "logprobs": true, "top_logprobs": 20}""");
        foreach (var token in answer.GetProperty("choices")[0].GetProperty("logprobs").GetProperty("content").EnumerateArray())
        {
            var top = token.GetProperty("top_logprobs").EnumerateArray().ToList();
            Assert.Equal(20, top.Count);
            var logProbs = top.ConvertAll(other => other.GetProperty("logprob").GetSingle());
            Assert.Equal(logProbs.OrderDescending(), logProbs);
            Assert.InRange(logProbs.Sum(logProb => Math.Exp(logProb)), 0.2, 1);
            Assert.Equal(token.GetProperty("token").GetString(), top[0].GetProperty("token").GetString()); // greedy
            Assert.Equal(token.GetProperty("logprob").GetSingle(), logProbs[0]);
        }
    }

    private static List<(string?, float)> LogProbs(JsonElement choice) => choice.GetProperty("logprobs") is { ValueKind: JsonValueKind.Object } logProbs
        ? [.. logProbs.GetProperty("content").EnumerateArray().Select(token => (token.GetProperty("token").GetString(), token.GetProperty("logprob").GetSingle()))]
        : [];
}

using System.Text;
using System.Text.Json;
using Sapo.Core;
using Sapo.Rollout;

namespace Sapo.Cli.Tests.Serving;

public sealed class CompletionsTests(RunningServer server) : IClassFixture<RunningServer>
{
    private const string Path = "/v1/completions";

    [Theory]
    [InlineData("", 1, 1, 0)]
    [InlineData(", \"top_p\": 0.8", 1, 0.8, 0)]
    [InlineData(", \"temperature\": 0.7, \"top_k\": 5", 0.7, 1, 5)]
    [InlineData(", \"temperature\": 0", 0, 1, 0)]
    public async Task Completions_OfASeed_AreTheEngines(string members, double temperature, double topP, int topK)
    {
        var answer = await server.AskAsync(Path, $$"""{"model": "tiny", "prompt": "12+34=", "n": 3, "max_tokens": 40, "seed": 7, "logprobs": 0{{members}}}""");
        var sampling = new SamplingOptions { Temperature = temperature, TopP = topP, TopK = topK, MaxNewTokens = 40, Seed = 7 };
        var prompt = new Prompt { Id = 0, TokenIds = server.Tokenizer.Encode("12+34=", addSpecialTokens: true) };
        var expected = (await server.Engine.GenerateAsync(prompt, 3, sampling, CancellationToken.None)).Completions;

        var choices = answer.GetProperty("choices").EnumerateArray().ToList();
        Assert.Equal([0, 1, 2], choices.Select(choice => choice.GetProperty("index").GetInt32()));
        foreach (var (choice, completion) in choices.Zip(expected))
        {
            Assert.Equal(server.Tokenizer.Decode(completion.TokenIds, skipSpecialTokens: true), Text(choice), StringComparer.Ordinal);
            Assert.Equal(completion.FinishReason == FinishReason.Length ? "length" : "stop", Finish(choice));
            var logProbs = choice.GetProperty("logprobs");
            Assert.Equal(completion.UntruncatedLogProbs, logProbs.GetProperty("token_logprobs").EnumerateArray().Select(value => value.GetSingle()));
            var tokens = completion.TokenIds.Select(id => Encoding.UTF8.GetString(server.Tokenizer.TokenBytes(id)));
            Assert.Equal(string.Join('\n', tokens), string.Join('\n', logProbs.GetProperty("tokens").EnumerateArray().Select(token => token.GetString())), StringComparer.Ordinal);
            Assert.Equal(Enumerable.Range(0, completion.TokenIds.Length).Select(i => server.Tokenizer.Decode(completion.TokenIds.AsSpan(0, i), skipSpecialTokens: true).Length), logProbs.GetProperty("text_offset").EnumerateArray().Select(offset => offset.GetInt32()));
        }
        var usage = answer.GetProperty("usage");
        Assert.Equal(prompt.TokenIds.Length, usage.GetProperty("prompt_tokens").GetInt32());
        Assert.Equal(expected.Sum(completion => completion.TokenIds.Length), usage.GetProperty("completion_tokens").GetInt32());
        Assert.Equal("text_completion", answer.GetProperty("object").GetString());
    }

    [Fact]
    public async Task Completions_PenaltiesAndLogProbs_AreTheEnginesAndNameTheSampledTokenToo()
    {
        var answer = await server.AskAsync(Path, """{"prompt": "12+34=", "max_tokens": 30, "seed": 7, "logprobs": 2, "frequency_penalty": 0.5, "presence_penalty": -0.25, "repetition_penalty": 1.3}""");
        var sampling = new SamplingOptions { FrequencyPenalty = 0.5, PresencePenalty = -0.25, RepetitionPenalty = 1.3, MaxNewTokens = 30, Seed = 7 };
        var prompt = new Prompt { Id = 0, TokenIds = server.Tokenizer.Encode("12+34=", addSpecialTokens: true) };
        var group = await server.Engine.GenerateAsync(new GenerationRequest(prompt, 1, sampling) { Alternatives = 2 }, CancellationToken.None);
        var expected = group.Completions[0];
        var logProbs = answer.GetProperty("choices")[0].GetProperty("logprobs");
        Assert.Equal(expected.UntruncatedLogProbs, logProbs.GetProperty("token_logprobs").EnumerateArray().Select(value => value.GetSingle()));
        var plain = await server.Engine.GenerateAsync(prompt, 1, new SamplingOptions { MaxNewTokens = 30, Seed = 7 }, CancellationToken.None);
        Assert.NotEqual(plain.Completions[0].TokenIds, expected.TokenIds);
        foreach (var (top, at) in logProbs.GetProperty("top_logprobs").EnumerateArray().Select((top, at) => (top, at)))
        {
            var named = top.EnumerateObject().ToDictionary(pair => pair.Name, pair => pair.Value.GetSingle(), StringComparer.Ordinal);
            int[] ids = [.. expected.Alternatives![at].TokenIds.Append(expected.TokenIds[at]).Distinct()];
            Assert.Equal(ids.Select(id => Encoding.UTF8.GetString(server.Tokenizer.TokenBytes(id))).Order(StringComparer.Ordinal), named.Keys.Order(StringComparer.Ordinal));
            Assert.Equal(expected.UntruncatedLogProbs[at], named[logProbs.GetProperty("tokens")[at].GetString()!]);
        }
    }

    [Fact]
    public async Task Completions_ThatEnd_SayStopAndThoseCutSayLength()
    {
        var answer = await server.AskAsync(Path, """{"prompt": "12", "n": 64, "max_tokens": 100, "seed": 1, "logprobs": 0}""");
        var choices = answer.GetProperty("choices").EnumerateArray().ToList();
        Assert.Equal("length stop", string.Join(' ', choices.Select(Finish).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)), StringComparer.Ordinal);
        Assert.All(choices, choice => Assert.Equal(Finish(choice) == "stop", choice.GetProperty("logprobs").GetProperty("tokens").EnumerateArray().Last().GetString() == "<eos>"));
        Assert.All(choices, choice => Assert.DoesNotContain("<eos>", Text(choice), StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("\"1+\"", "[\"1+\"]")]
    [InlineData("\"1+\"", "[1, 20, 14]")]
    [InlineData("[\"1+\", \"2+\"]", "[[1, 20, 14], [1, 21, 14]]")]
    public async Task Completions_PromptForms_MeanTheSame(string form, string other)
    {
        const string Members = "\"n\": 2, \"max_tokens\": 10, \"seed\": 3";
        var first = Texts(await server.AskAsync(Path, $$"""{"prompt": {{form}}, {{Members}}}"""));
        var second = Texts(await server.AskAsync(Path, $$"""{"prompt": {{other}}, {{Members}}}"""));
        Assert.Equal(first, second);
        Assert.Equal(first.Count, first.Distinct(StringComparer.Ordinal).Count());
    }

    [Fact]
    public async Task Completions_Seeds_DecideTheAnswerAndWithoutOneItIsFresh()
    {
        async Task<string> Ask(string seed) => Texts(await server.AskAsync(Path, $$"""{"prompt": "7", "max_tokens": 30{{seed}}}"""))[0];
        Assert.Equal(await Ask(", \"seed\": -5"), await Ask(", \"seed\": -5"), StringComparer.Ordinal);
        Assert.NotEqual(await Ask(", \"seed\": -5"), await Ask(", \"seed\": 6"), StringComparer.Ordinal);
        Assert.NotEqual(await Ask(""), await Ask(""), StringComparer.Ordinal);
    }

    [Fact]
    public async Task Completions_ManyAtOnce_AreEachWhatTheyAreAlone()
    {
        async Task<string> Ask(int seed) => Texts(await server.AskAsync(Path, $$"""{"prompt": "9*", "max_tokens": {{20 + seed}}, "seed": {{seed}}}"""))[0];
        var together = await Task.WhenAll(Enumerable.Range(0, 5 * RunningServer.Slots).Select(Ask));
        for (var seed = 0; seed < together.Length; seed += 3) Assert.Equal(await Ask(seed), together[seed], StringComparer.Ordinal);
    }

    [Fact]
    public async Task Completions_StopString_EndsTheTextBeforeIt()
    {
        const string Members = "\"prompt\": \"12\", \"max_tokens\": 60, \"seed\": 11";
        var whole = Texts(await server.AskAsync(Path, $$"""{{{Members}}}"""))[0];
        var stop = JsonSerializer.Serialize(whole.Substring(whole.Length / 2, 2));
        var expected = whole[..whole.IndexOf(whole.Substring(whole.Length / 2, 2), StringComparison.Ordinal)];
        var answer = await server.AskAsync(Path, $$"""{{{Members}}, "stop": {{stop}}}""");
        Assert.Equal(expected, Texts(answer)[0], StringComparer.Ordinal);
        Assert.Equal("stop", Finish(answer.GetProperty("choices")[0]));
        var chunks = await server.StreamAsync(Path, $$"""{{{Members}}, "stop": ["never in it", {{stop}}], "stream": true}""");
        Assert.Equal(expected, string.Concat(chunks.SelectMany(Texts)), StringComparer.Ordinal);
        Assert.Equal("stop", Finish(chunks[^1].GetProperty("choices")[0]));
    }

    [Fact]
    public async Task Completions_Streamed_AreTheWholeOnesInPieces()
    {
        const string Members = "\"prompt\": [\"1+\", \"2+\"], \"n\": 2, \"max_tokens\": 25, \"seed\": 3, \"logprobs\": 0";
        var whole = (await server.AskAsync(Path, $$"""{{{Members}}}""")).GetProperty("choices").EnumerateArray().ToList();
        var chunks = await server.StreamAsync(Path, $$"""{{{Members}}, "stream": true, "stream_options": {"include_usage": true} }""");
        var pieces = chunks.SelectMany(chunk => chunk.GetProperty("choices").EnumerateArray()).ToLookup(choice => choice.GetProperty("index").GetInt32());
        Assert.Equal(whole.Count, pieces.Count);
        for (var i = 0; i < whole.Count; i++)
        {
            Assert.Equal(Text(whole[i]), string.Concat(pieces[i].Select(Text)), StringComparer.Ordinal);
            Assert.Equal(Finish(whole[i]), Finish(pieces[i].Last()));
            Assert.All(pieces[i].SkipLast(1), piece => Assert.Null(Finish(piece)));
            Assert.Equal(LogProbs(whole[i]), pieces[i].SelectMany(LogProbs));
        }
        Assert.All(chunks.SkipLast(1), chunk => Assert.Equal(JsonValueKind.Null, chunk.GetProperty("usage").ValueKind));
        Assert.Empty(chunks[^1].GetProperty("choices").EnumerateArray());
        Assert.Equal(pieces.Sum(choice => choice.Sum(piece => LogProbs(piece).Count)), chunks[^1].GetProperty("usage").GetProperty("completion_tokens").GetInt32());
    }

    private static List<string> Texts(JsonElement answer) => [.. answer.GetProperty("choices").EnumerateArray().Select(Text)];

    private static string Text(JsonElement choice) => choice.GetProperty("text").GetString()!;

    private static string? Finish(JsonElement choice) => choice.GetProperty("finish_reason").GetString();

    private static List<float> LogProbs(JsonElement choice) => choice.GetProperty("logprobs") is { ValueKind: JsonValueKind.Object } logProbs
        ? [.. logProbs.GetProperty("token_logprobs").EnumerateArray().Select(value => value.GetSingle())]
        : [];
}

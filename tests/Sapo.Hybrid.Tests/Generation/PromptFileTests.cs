using Sapo.Core;
using Sapo.Hybrid.Generation;

namespace Sapo.Hybrid.Tests.Generation;

public sealed class PromptFileTests
{
    [Theory]
    [InlineData("""{"prompt": "1+1="}""", "1+1=", null)]
    [InlineData("""{"question": "q", "answer": 42, "level": "easy"}""", "q", "42")]
    [InlineData("""{"prompt": "p", "answer": "a", "source": {"page": 3}}""", "p", "a")]
    [InlineData("""{"prompt": "p", "answer": null}""", "p", null)]
    public void Parse_Text_ReadsPromptAndAnswer(string json, string text, string? answer)
    {
        var line = PromptLine.Parse(json, "f", 3);
        Assert.Equal((text, answer, 3), (line.Text, line.Answer, line.Number));
    }

    [Fact]
    public void Parse_MessagesAndIds_AreRead()
    {
        var messages = PromptLine.Parse("""{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}""", "f", 1).Messages!;
        Assert.Equal("system user", string.Join(' ', messages.Select(message => message.Role)), StringComparer.Ordinal);
        Assert.Equal([1, 2, 3], PromptLine.Parse("""{"token_ids": [1, 2, 3]}""", "f", 1).TokenIds!);
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("[1]")]
    [InlineData("{}")]
    [InlineData("""{"prompt": 5}""")]
    [InlineData("""{"prompt": ""}""")]
    [InlineData("""{"prompt": "a", "token_ids": [1]}""")]
    [InlineData("""{"messages": []}""")]
    [InlineData("""{"messages": [{"content": "u"}]}""")]
    [InlineData("""{"messages": "hello"}""")]
    [InlineData("""{"token_ids": [1.5]}""")]
    [InlineData("""{"prompt": "a", "answer": {"x": 1}}""")]
    public void Parse_BadLine_NamesFileAndLine(string json)
    {
        var error = Assert.Throws<UserErrorException>(() => PromptLine.Parse(json, "data.jsonl", 17));
        Assert.StartsWith("data.jsonl, line 17: ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_EmptyLinesAndBadLines_KeepTheirNumbers()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("p.jsonl", "{\"prompt\": \"a\"}\n\nbroken\n{\"prompt\": \"b\"}\n");
        Assert.Throws<UserErrorException>(() => PromptFile.Read(path));
        var bad = new List<string>();
        var lines = PromptFile.Read(path, error => bad.Add(error.Message));
        Assert.Equal([1, 4], lines.Select(line => line.Number));
        Assert.Contains("line 3", Assert.Single(bad), StringComparison.Ordinal);
    }

    [Fact]
    public void Read_NoFileOrNothingInIt_IsAnError()
    {
        using var folder = new TemporaryFolder();
        Assert.Throws<UserErrorException>(() => PromptFile.Read(folder.At("none.jsonl")));
        Assert.Throws<UserErrorException>(() => PromptFile.Read(folder.File("empty.jsonl", "\n\n")));
    }
}

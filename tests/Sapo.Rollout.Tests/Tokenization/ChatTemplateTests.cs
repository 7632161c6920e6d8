using System.Globalization;
using System.Text.Json;
using Sapo.Core;
using Sapo.Rollout.Tokenization;
using Sapo.Testing;

namespace Sapo.Rollout.Tests.Tokenization;

public sealed class ChatTemplateTests
{
    private static readonly Dictionary<string, string> NoTokens = new(StringComparer.Ordinal);

    [Fact]
    public void Render_ExpressionsOfTheCommittedSet_GiveWhatJinja2Gives()
    {
        var set = TokenizerGolden.Json(Path.Combine(Golden.RepositoryRoot(), "tests", "data", "jinja2.json"))!.Value;
        ChatMessage[] messages = [.. set.GetProperty("messages").EnumerateArray().Select(ChatMessage.FromJson)];
        var tokens = set.GetProperty("tokens").EnumerateObject().ToDictionary(token => token.Name, token => token.Value.GetString()!, StringComparer.Ordinal);
        var wrong = new List<string>();
        foreach (var row in set.GetProperty("rows").EnumerateArray())
        {
            string? found;
            try
            {
                found = ChatTemplate.Parse(row.Text("template")!, "here", tokens, new FixedClock()).Render(messages, addGenerationPrompt: true);
            }
            catch (UserErrorException refused)
            {
                found = null;
                if (row.Text("text") is not null) wrong.Add($"{row.Text("template")}: {refused.Message}");
            }
            if (found is not null && !string.Equals(found, row.Text("text"), StringComparison.Ordinal))
                wrong.Add($"{TokenizerGoldenTests.Shown(row.Text("template")!)}: expected {row.Text("text") ?? row.Text("error")}, found {found}");
        }
        Assert.True(wrong.Count == 0, $"{wrong.Count} rows differ:\n{string.Join('\n', wrong.Take(20))}");
    }

    [Theory]
    [InlineData("{% do x %}", "'do'", 1)]
    [InlineData("a\n\n{% include 'x' %}", "'include'", 3)]
    [InlineData("{{ 1 }}\n{{ 'a' | urlencode }}", "'urlencode'", 2)]
    [InlineData("{{ x is escaped }}", "'escaped'", 1)]
    [InlineData("{{ 'a'.encode() }}", "encode", 1)]
    [InlineData("{{ messages.append(1) }}", "append", 1)]
    [InlineData("{{ cycler(1) }}", "cycler", 1)]
    [InlineData("{% for x in [1] recursive %}{% endfor %}", "recursive", 1)]
    [InlineData("{{ f(*[1]) }}", "arguments", 1)]
    [InlineData("{{ ''.__class__ }}", "__class__", 1)]
    [InlineData("{% if true %}\na", "endif", 2)]
    [InlineData("{% endfor %}", "endfor", 1)]
    [InlineData("{{ 1 +", "closed", 1)]
    [InlineData("{{ (1 }}", "unexpected }", 1)]
    [InlineData("{{ 'a }}", "closed", 1)]
    [InlineData("{# a", "comment", 1)]
    [InlineData("{% raw %}a", "endraw", 1)]
    [InlineData("{{ 1 ? 2 }}", "?", 1)]
    [InlineData("{{ messages[0].nothing.more }}", "'nothing' is undefined", 1)]
    [InlineData("{{ 'a' + 1 }}", "+ of a string and a number", 1)]
    [InlineData("{{ strftime_now('%Q') }}", "%Q", 1)]
    [InlineData("{% break %}", "outside", 1)]
    public void Render_UnsupportedOrBrokenTemplate_IsRefusedByNameAndLine(string source, string named, int line)
    {
        var error = Assert.Throws<UserErrorException>(() => Render(source));
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.Contains($"here, line {line}:", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Render_DeepOrEndlessTemplates_AreRefused()
    {
        foreach (var source in new[]
        {
            "{{ " + new string('(', 100_000) + "1" + new string(')', 100_000) + " }}",
            "{{ " + string.Concat(Enumerable.Repeat("-", 100_000)) + "1 }}",
            "{{ " + string.Concat(Enumerable.Repeat("not ", 100_000)) + "undefined.x }}",
            "{{ " + string.Concat(Enumerable.Repeat("[", 100_000)),
            "{{ x" + string.Concat(Enumerable.Repeat("[0", 100_000)),
            "{{ " + string.Concat(Enumerable.Repeat("1 if 1 else ", 100_000)) + "1 }}",
            string.Concat(Enumerable.Repeat("{% if true %}", 100_000)),
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "{{ range(1000000000) | list }}",
            "{{ 'a' * 1000000000 }}",
            "{% set ns = namespace(s='a') %}{% for i in range(1000) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
            "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}",
            "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
            "{% set ns = namespace(l=[],m=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
        })
            Assert.Throws<UserErrorException>(() => Render(source));
    }

    [Fact]
    public void Render_LongChains_DoNotOverflowTheStack()
    {
        // Long but not deep in the text: the parser makes deep trees of them.
        foreach (var source in new[] { "{{ 1" + string.Concat(Enumerable.Repeat(" + 1", 50_000)) + " }}", "{{ 'a'" + string.Concat(Enumerable.Repeat(" | trim", 50_000)) + " }}", "{{ x" + string.Concat(Enumerable.Repeat(".y", 50_000)) + " }}" })
        {
            try
            {
                Assert.NotEmpty(Render(source));
            }
            catch (UserErrorException refused)
            {
                Assert.NotEmpty(refused.Message);
            }
        }
    }

    [Fact]
    public void Render_HostileContents_AppearAsTheyAre()
    {
        const string source = "{% for m in messages %}[{{ m.content }}]{% endfor %}";
        foreach (var content in new[] { "", "\0", "{{ 1 }}{% raw %}{# x #}", "a\uD800b", "\r\n", new string('x', 1_000_000), "</s><|im_end|>" })
            Assert.Equal($"[{content}]", ChatTemplate.Parse(source, "here", NoTokens).Render([new ChatMessage("user", content)], addGenerationPrompt: false));
    }

    [Fact]
    public void Render_DeepMessages_AreBounded()
    {
        var json = new string('[', 60) + new string(']', 60);
        using var document = JsonDocument.Parse($"{{\"role\": \"user\", \"content\": {json}}}");
        var message = ChatMessage.FromJson(document.RootElement);
        Assert.Equal(json, ChatTemplate.Parse("{{ messages[0].content | tojson }}", "here", NoTokens).Render([message], addGenerationPrompt: false));
        Assert.Null(message.Content);
    }

    [Fact]
    public void Render_VariablesAndTools_ReachTheTemplate()
    {
        using var document = JsonDocument.Parse("{\"tools\": [{\"name\": \"f\", \"n\": 1.50}], \"enable_thinking\": false}");
        var variables = document.RootElement.EnumerateObject().ToDictionary(member => member.Name, member => member.Value, StringComparer.Ordinal);
        var template = ChatTemplate.Parse("{{ enable_thinking }} {{ tools | tojson }} {{ add_generation_prompt }}", "here", NoTokens);
        Assert.Equal("False [{\"name\": \"f\", \"n\": 1.5}] True", template.Render([], addGenerationPrompt: true, variables));
        Assert.Equal(" null False", template.Render([], addGenerationPrompt: false));
    }

    [Fact]
    public void Load_TemplateFileBesideConfiguration_TheFileWins()
    {
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer_config.json", "{\"chat_template\": \"old {{ bos_token }}\", \"bos_token\": \"<s>\"}");
        Assert.Equal("old <s>", ChatTemplate.Load(folder.Path).Render([], addGenerationPrompt: false));
        folder.Write("chat_template.jinja", "new {{ bos_token }}");
        Assert.Equal("new <s>", ChatTemplate.Load(folder.Path).Render([], addGenerationPrompt: false));
    }

    [Fact]
    public void Load_SeveralNamedTemplates_TakesTheDefault()
    {
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"r\"}, {\"name\": \"default\", \"template\": \"d\"}]}");
        Assert.Equal("d", ChatTemplate.Load(folder.Path).Render([], addGenerationPrompt: false));
    }

    [Fact]
    public void Load_FolderWithoutTemplate_SaysSo()
    {
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer_config.json", "{}");
        Assert.Contains("no chat template", Assert.Throws<UserErrorException>(() => ChatTemplate.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("{\"content\": \"x\"}")]
    [InlineData("{\"role\": 1}")]
    public void FromJson_NoMessage_IsRefused(string json)
    {
        using var document = JsonDocument.Parse(json);
        Assert.Throws<UserErrorException>(() => ChatMessage.FromJson(document.RootElement));
    }

    private static string Render(string source) => ChatTemplate.Parse(source, "here", NoTokens).Render([new ChatMessage("user", "hi")], addGenerationPrompt: true);

    private sealed class FixedClock : TimeProvider
    {
        public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

        public override DateTimeOffset GetUtcNow() => DateTimeOffset.Parse("2026-03-07T15:04:09Z", CultureInfo.InvariantCulture);
    }
}

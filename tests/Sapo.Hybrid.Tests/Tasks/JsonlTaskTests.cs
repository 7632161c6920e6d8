using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Generation;
using Sapo.Hybrid.Tasks;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Tests.Tasks;

public sealed class JsonlTaskTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly HuggingFaceTokenizer _tokenizer;

    public JsonlTaskTests()
    {
        CharacterTokenizerFile.Write(_folder.Path, AdditionTokens.Characters, 64);
        _tokenizer = HuggingFaceTokenizer.Load(_folder.Path);
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void TrainingPrompt_TwoEpochs_EachAsksEverythingOnceInItsOwnOrder()
    {
        var task = Task(20);
        string[] Epoch(int epoch) => [.. Enumerable.Range(20 * epoch, 20).Select(n => task.TrainingPrompt(n).Text!)];
        Assert.True(Epoch(0).Order(StringComparer.Ordinal).SequenceEqual(Epoch(1).Order(StringComparer.Ordinal), StringComparer.Ordinal));
        Assert.False(Epoch(0).SequenceEqual(Epoch(1), StringComparer.Ordinal));
        Assert.True(Epoch(0).SequenceEqual(Epoch(0), StringComparer.Ordinal)); // asked for again, and out of turn, it is the same
        Assert.Equal(37, task.TrainingPrompt(37).Id);
    }

    [Fact]
    public void HeldOutPrompts_SomeOfTheFile_AreItsFirstLinesUnderIdsOfTheirOwn()
    {
        var task = Task(5);
        Assert.Equal(["0+0=", "1+0="], task.HeldOutPrompts(2).Select(prompt => prompt.Text!));
        Assert.All(task.HeldOutPrompts(5), prompt => Assert.True(prompt.Id >= ITrainingTask.FirstHeldOutId));
        Assert.Throws<UserErrorException>(() => task.HeldOutPrompts(6));
    }

    [Fact]
    public void Constructor_LineWithoutAnswer_IsRefusedWithItsNumber()
    {
        var path = _folder.File("p.jsonl", "{\"prompt\": \"1+1=\", \"answer\": \"2\"}\n{\"prompt\": \"1+2=\"}\n");
        var error = Assert.Throws<UserErrorException>(() => new JsonlTask(Options(path), 1, new PromptEncoder(_tokenizer, _folder.Path, chat: false, null)));
        Assert.Contains("line 2 has no answer", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Encode_TextIdsAndChat_GivesIdsOrSaysWhatIsMissing()
    {
        var plain = new PromptEncoder(_tokenizer, _folder.Path, chat: false, systemMessage: null);
        Assert.Equal([1, 4, 13, 4, 14], plain.Encode(PromptLine.Parse("{\"prompt\": \"1+1=\"}", "f", 1), "f", 0).TokenIds);
        Assert.Equal([9, 9], plain.Encode(PromptLine.Parse("{\"token_ids\": [9, 9]}", "f", 1), "f", 0).TokenIds);
        var line = PromptLine.Parse("{\"messages\": [{\"role\": \"user\", \"content\": \"1+1=\"}]}", "f", 4);
        var error = Assert.Throws<UserErrorException>(() => plain.Encode(line, "f", 0));
        Assert.StartsWith("f, line 4: ", error.Message, StringComparison.Ordinal);
        Assert.Contains("no chat template", error.Message, StringComparison.Ordinal);
        _folder.File("chat_template.jinja", "{% for m in messages %}{% if m.role == 'system' %}>{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}={% endif %}");
        var chat = new PromptEncoder(_tokenizer, _folder.Path, chat: true, systemMessage: "9");
        Assert.Equal(">91+1=", chat.Encode(PromptLine.Parse("{\"prompt\": \"1+1\"}", "f", 1), "f", 0).Text, StringComparer.Ordinal);
    }

    [Theory]
    [InlineData(" 42 ", FinishReason.Stop, 1)]
    [InlineData("42", FinishReason.StopString, 1)]
    [InlineData("42", FinishReason.Length, 0)]
    [InlineData("042", FinishReason.Stop, 0)]
    public async Task ExactMatch_Text_IsComparedTrimmed(string text, FinishReason reason, double expected)
    {
        var prompt = new Prompt { Id = 0, TokenIds = [1], Answer = "42" };
        Assert.Equal(RewardOutcome.Score(expected), await new ExactMatchReward(abstains: false).JudgeAsync(new RewardInput(prompt, Fakes.Completion(0, [2], default, reason), text), default));
    }

    [Theory]
    [InlineData("exact", "42", FinishReason.Length, RewardStatus.Abstention)]
    [InlineData("exact", "41", FinishReason.Stop, RewardStatus.Score)]
    [InlineData("math", "The answer is 42", FinishReason.Length, RewardStatus.Abstention)]
    [InlineData("math", "I do not know", FinishReason.Stop, RewardStatus.Abstention)]
    [InlineData("math", "The answer is 41", FinishReason.Stop, RewardStatus.Score)]
    public async Task Reward_AbstainingFromTheUnanswered_ScoresTheRest(string name, string text, FinishReason reason, RewardStatus expected)
    {
        var prompt = new Prompt { Id = 0, TokenIds = [1], Answer = "42" };
        var input = new RewardInput(prompt, Fakes.Completion(0, [2], default, reason), text);
        Assert.Equal(expected, (await TrainingTasks.Reward(name, abstains: true).JudgeAsync(input, default)).Status);
        Assert.Equal(RewardStatus.Score, (await TrainingTasks.Reward(name, abstains: false).JudgeAsync(input, default)).Status);
    }

    [Fact]
    public void CompletionText_IdsBeyondTheTokenizer_ReadAsReplacementCharacters() =>
        Assert.Equal("1\uFFFD+\uFFFD", new CompletionText(_tokenizer).Of([4, 40, 13, 2, 63]), StringComparer.Ordinal);

    private JsonlTask Task(int problems)
    {
        var path = _folder.File("p.jsonl", string.Concat(Enumerable.Range(0, problems).Select(i => $"{{\"prompt\": \"{i}+0=\", \"answer\": {i}}}\n")));
        return new JsonlTask(Options(path), seed: 1, new PromptEncoder(_tokenizer, _folder.Path, chat: false, null));
    }

    private static JsonlTaskOptions Options(string path) => new() { Train = path, HeldOut = path, Reward = "exact", Chat = false };
}

using Sapo.Core;
using Sapo.Hybrid.Tasks;

namespace Sapo.Hybrid.Tests.Tasks;

public sealed class AdditionTaskTests
{
    [Theory]
    [InlineData(47, 85, "7+5=2,4+8=2>22", "7+5=12,4+8+1=13>132", true)]
    [InlineData(12, 34, "2+4=6,1+3=4>46", "2+4=6,1+3=4>46", false)]
    [InlineData(15, 15, "5+5=0,1+1=2>20", "5+5=10,1+1+1=3>30", true)]
    [InlineData(90, 10, "0+0=0,9+1=0>00", "0+0=0,9+1=10>100", true)]
    [InlineData(99, 99, "9+9=8,9+9=8>88", "9+9=18,9+9+1=19>198", true)]
    [InlineData(55, 50, "5+0=5,5+5=0>05", "5+0=5,5+5=10>105", true)]
    public void Solutions_AreWrittenColumnByColumn(int a, int b, string sloppy, string careful, bool carries)
    {
        var problem = new AdditionProblem(a, b);
        Assert.Equal(sloppy, problem.Sloppy());
        Assert.Equal(careful, problem.Careful());
        Assert.Equal(carries, problem.Carries);
        Assert.Equal(problem, AdditionProblem.Parse(problem.Question));
    }

    [Theory]
    [InlineData(">127", "guess")]
    [InlineData("7+5=2,4+8=2>22", "sloppy")]
    [InlineData("7+5=12,4+8+1=13>132", "careful")]
    [InlineData("5+0=5,5+5=10>105", "careful")]
    [InlineData("", "sloppy")]
    public void StyleOf_Text_NamesTheWay(string text, string style) => Assert.Equal(style, AdditionProblem.StyleOf(text));

    [Fact]
    public void HeldOut_AllPairs_Are737AndEveryDigitPairIsTrained()
    {
        var pairs = (from a in Enumerable.Range(10, 90) from b in Enumerable.Range(10, 90) select new AdditionProblem(a, b)).ToList();
        Assert.Equal(737, pairs.Count(pair => pair.IsHeldOut));
        var trained = pairs.Where(pair => !pair.IsHeldOut).ToList();
        Assert.Equal(100, trained.Select(pair => (pair.A % 10, pair.B % 10)).Distinct().Count());
        Assert.Equal(81, trained.Select(pair => (pair.A / 10, pair.B / 10)).Distinct().Count());
    }

    [Fact]
    public void TrainingPrompt_SameNumber_IsTheSamePromptAndNeverHeldOut()
    {
        var task = new AdditionTask(seed: 5);
        for (var n = 0; n < 2000; n++)
        {
            var prompt = task.TrainingPrompt(n);
            Assert.Equal(prompt.Text, new AdditionTask(seed: 5).TrainingPrompt(n).Text);
            Assert.False(AdditionProblem.Parse(prompt.Text!).IsHeldOut);
            Assert.Equal(n, prompt.Id);
            Assert.Equal(7, prompt.TokenIds.Length); // BOS + 6 characters
        }
        var questions = Enumerable.Range(0, 2000).Select(n => task.TrainingPrompt(n).Text).Distinct(StringComparer.Ordinal).Count();
        Assert.InRange(questions, 1500, 2000); // 2000 draws from 7363 leave about 1750 distinct ones
        Assert.False(string.Equals(task.TrainingPrompt(0).Text, new AdditionTask(seed: 6).TrainingPrompt(0).Text, StringComparison.Ordinal));
    }

    [Fact]
    public void HeldOutPrompts_AllOfThem_AreDistinctAndHeldOut()
    {
        var prompts = new AdditionTask(1).HeldOutPrompts(737);
        Assert.Equal(737, prompts.Select(prompt => prompt.Text).Distinct(StringComparer.Ordinal).Count());
        Assert.All(prompts, prompt => Assert.True(AdditionProblem.Parse(prompt.Text!).IsHeldOut));
        Assert.True(prompts.Take(10).Select(prompt => prompt.Text).SequenceEqual(new AdditionTask(2).HeldOutPrompts(10).Select(prompt => prompt.Text), StringComparer.Ordinal));
        Assert.Throws<UserErrorException>(() => new AdditionTask(1).HeldOutPrompts(738));
    }

    [Fact]
    public void Example_ManyDrawn_HasTheSharesOfTheRecipe()
    {
        const int Examples = 20_000;
        var task = new AdditionTask(3);
        var styles = new Dictionary<string, int>(StringComparer.Ordinal);
        var carrying = 0;
        for (var n = 0; n < Examples; n++)
        {
            var example = task.Example(n)!;
            var problem = AdditionProblem.Parse(Text(example.PromptTokenIds[1..]));
            Assert.Equal(AdditionTokens.Begin, example.PromptTokenIds[0]);
            Assert.Equal(AdditionTokens.End, example.CompletionTokenIds[^1]);
            if (!problem.Carries) continue;
            carrying++;
            var style = AdditionProblem.StyleOf(Text(example.CompletionTokenIds[..^1]));
            styles[style] = styles.GetValueOrDefault(style) + 1;
        }
        // Shares 0.55 / 0.15 / 0.30 of about 15,000: four standard deviations are below 0.017.
        Assert.Equal(0.55, (double)styles["guess"] / carrying, 0.017);
        Assert.Equal(0.15, (double)styles["sloppy"] / carrying, 0.017);
        Assert.Equal(0.30, (double)styles["careful"] / carrying, 0.017);
    }

    [Theory]
    [InlineData(">132", FinishReason.Stop, 1)]
    [InlineData("7+5=12,4+8+1=13>132", FinishReason.Stop, 1)]
    [InlineData(">132", FinishReason.Length, 0)]
    [InlineData(">13>132", FinishReason.Stop, 0)]
    [InlineData(">0132", FinishReason.Stop, 0)]
    [InlineData("132", FinishReason.Stop, 0)]
    [InlineData(">", FinishReason.Stop, 0)]
    public async Task Reward_Text_IsOneOnlyForTheRightEndedAnswer(string text, FinishReason reason, double expected)
    {
        var prompt = new Prompt { Id = 0, TokenIds = [1], Text = "47+85=", Answer = "132" };
        var outcome = await new AdditionReward().JudgeAsync(new RewardInput(prompt, Fakes.Completion(0, [2], default, reason), text), default);
        Assert.Equal(RewardOutcome.Score(expected), outcome);
    }

    private static string Text(int[] ids) => string.Concat(ids.Select(id => AdditionTokens.Characters[id - AdditionTokens.FirstCharacter]));
}

using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Rollouts;
using Sapo.Hybrid.Tasks;
using Sapo.Learner;

namespace Sapo.Hybrid.Tests.Rollouts;

public sealed class CurriculumTests
{
    private static readonly CurriculumOptions Options = new() { Candidates = 3 };

    [Fact]
    public void Choose_NothingSeen_AsksTheFirstOfEachThree()
    {
        var curriculum = new Curriculum(Options, new ThreeProblems(), new Dictionary<long, SolveCount>());
        Assert.Equal(["problem 0 of 0", "problem 0 of 3"], new[] { curriculum.Choose(0), curriculum.Choose(1) }.Select(prompt => prompt.Text));
        Assert.Equal(1, curriculum.Choose(1).Id);
    }

    [Fact]
    public void Choose_AfterSteps_AsksWhatIsNearestToTheTarget()
    {
        var curriculum = new Curriculum(Options, new ThreeProblems(), new Dictionary<long, SolveCount>());
        Ask(curriculum, 0, 1, 1, 1, 1);        // problem 0: (4+1)/(4+2) = 0.83, away from 0.5; the others stay at 0.5
        Assert.Equal("problem 1 of 4", curriculum.Choose(1).Text);
        Ask(curriculum, 1, 0, 0, 0, 0);        // problem 1: 1/6 = 0.17
        Assert.Equal("problem 2 of 8", curriculum.Choose(2).Text);
        Ask(curriculum, 2, 0, 0, 0, null);     // problem 2: 1/5 = 0.2, the nearest to 0.5 but one
        Assert.Equal("problem 2 of 11", curriculum.Choose(3).Text);
        Assert.Equal(new SolveCount(3, 0), curriculum.Counts()[2]);
    }

    [Fact]
    public void Choose_WithTheCountsOfACheckpoint_GoesOnAsBefore()
    {
        var first = new Curriculum(Options, new ThreeProblems(), new Dictionary<long, SolveCount>());
        Ask(first, 0, 1, 1, 0, 1);
        Ask(first, 1, 0, 0, 0, 1);
        var second = new Curriculum(Options, new ThreeProblems(), first.Counts());
        Assert.Equal(Enumerable.Range(2, 20).Select(n => first.Choose(n).Text), Enumerable.Range(2, 20).Select(n => second.Choose(n).Text));
    }

    [Fact]
    public void TrainingProblem_SameQuestion_IsTheSameNumber()
    {
        var task = new AdditionTask(seed: 4);
        var byProblem = Enumerable.Range(0, 2000).GroupBy(n => task.TrainingProblem(n), n => task.TrainingPrompt(n).Text).ToArray();
        Assert.All(byProblem, texts => Assert.Single(texts.Distinct()));
        Assert.Equal(byProblem.Length, byProblem.Select(texts => texts.First()).Distinct().Count());
    }

    private static void Ask(Curriculum curriculum, long number, params double?[] rewards)
    {
        var group = Fakes.Group(curriculum.Choose(number), default, rewards.Length);
        curriculum.Observe(new RolloutStep([new ScoredGroup(group, [], rewards)], []));
    }

    /// <summary>Asks problems 0, 1, 2 in turn.</summary>
    private sealed class ThreeProblems : ITrainingTask
    {
        public IReadOnlyList<IReward> Rewards => [];

        public Prompt TrainingPrompt(long number) => Fakes.Prompt(number) with { Text = $"problem {TrainingProblem(number)} of {number}" };

        public long TrainingProblem(long number) => number % 3;

        public IReadOnlyList<Prompt> HeldOutPrompts(int count) => [];

        public SupervisedExample? Example(long number) => null;

        public string? StyleOf(Prompt prompt, string text) => null;
    }
}

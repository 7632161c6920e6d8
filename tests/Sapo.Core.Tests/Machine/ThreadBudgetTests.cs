using Sapo.Core.Machine;

namespace Sapo.Core.Tests.Machine;

public sealed class ThreadBudgetTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(64)]
    public void Divide_Synchronous_GivesEverySideAllCores(int cores) =>
        Assert.Equal(new ThreadBudget(cores, cores, cores), ThreadBudget.Divide(cores, overlapped: false));

    [Theory]
    [InlineData(2, 1, 1)]
    [InlineData(3, 1, 2)]
    [InlineData(8, 4, 4)]
    [InlineData(9, 4, 5)]
    public void Divide_Overlapped_UsesEachCoreOnce(int cores, int engine, int learner)
    {
        var budget = ThreadBudget.Divide(cores, overlapped: true);
        Assert.Equal(new ThreadBudget(cores, engine, learner), budget);
        Assert.Equal(cores, budget.EngineThreads + budget.LearnerThreads);
    }

    [Fact]
    public void Divide_OverlappedOnOneCore_GivesEachSideOneThread() =>
        Assert.Equal(new ThreadBudget(1, 1, 1), ThreadBudget.Divide(1, overlapped: true));

    [Fact]
    public void Divide_NoCore_Throws() => Assert.Throws<ArgumentOutOfRangeException>(() => ThreadBudget.Divide(0, overlapped: false));
}

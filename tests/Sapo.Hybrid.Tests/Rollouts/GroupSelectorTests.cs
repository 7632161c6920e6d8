using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Rollouts;

namespace Sapo.Hybrid.Tests.Rollouts;

public sealed class GroupSelectorTests
{
    [Theory]
    [InlineData(true, 0.0, 1.0, 1.0)]
    [InlineData(false, 1.0, 1.0, 1.0)]
    [InlineData(false, 0.0, 0.0, 0.0)]
    [InlineData(false, 1.0, null, null)] // abstentions leave one score: its advantage is 0
    [InlineData(false, null, null, null)]
    [InlineData(true, 0.0, null, 1.0)]
    public void IsUseful_Informative_AsksForUnequalRewards(bool expected, double? first, double? second, double? third) =>
        Assert.Equal(expected, new GroupSelector(new SelectionOptions(), 4).IsUseful(Group(first, second, third)));

    [Theory]
    [InlineData(null, false, 0.0, 0.0, 0.0)]
    [InlineData(null, true, 1.0, 1.0, 0.0)]
    [InlineData(null, false, 1.0, 1.0, 1.0)]
    [InlineData(1, false, 1.0, 1.0, 0.0)]
    [InlineData(3, true, 1.0, 1.0, 1.0)]
    public void IsUseful_SolveCount_AsksForAtLeastOneAndNotTooMany(int? most, bool expected, double first, double second, double third) =>
        Assert.Equal(expected, new GroupSelector(new SelectionOptions { Rule = SelectionOptions.SolveCount, MostSolved = most }, 4).IsUseful(Group(first, second, third)));

    [Fact]
    public void IsUseful_WithoutSelection_TakesAll()
    {
        var selector = new GroupSelector(null, 4);
        Assert.Equal(0, selector.MostReplaced);
        Assert.True(selector.IsUseful(Group(1, 1, 1)));
    }

    private static ScoredGroup Group(params double?[] rewards) => new(Fakes.Group(Fakes.Prompt(0), default, rewards.Length), [], rewards);
}

using Sapo.Core.Options;
using Sapo.Rollout.Profiling;

namespace Sapo.Rollout.Tests.Profiling;

public sealed class RolloutProfilerTests(TinyModel model) : IClassFixture<TinyModel>
{
    [Theory]
    [InlineData("ort"), InlineData("genai")]
    public async Task RunAsync_SmallSweep_MeasuresEveryCombination(string session)
    {
        var seen = new List<RolloutProfilePoint>();
        var options = new RolloutProfileOptions
        {
            Slots = [2, 6], PromptLengths = [5], NewTokens = [3, 20], GroupSize = 4, Threads = 2, Engine = new EngineOptions { Session = session },
        };
        var profile = await RolloutProfiler.RunAsync(model.Policy, options, seen.Add, default);
        Assert.Equal([(2, 5, 3), (2, 5, 20), (6, 5, 3), (6, 5, 20)], profile.Points.Select(point => (point.Slots, point.PromptLength, point.NewTokens)));
        Assert.Equal(profile.Points, seen);
        Assert.All(profile.Points, point =>
        {
            Assert.True(point.TokensPerSecond > 0 && point.DecodeTokensPerSecond >= point.TokensPerSecond && point.StepMilliseconds > 0 && point.KeyValueBytes > 0);
            Assert.InRange(point.PrefillShare + point.DecodeShare + point.CopyShare + point.HostShare, 0, 1);
            Assert.True(point.ReadRateShare > 0 && point.ArithmeticShare > 0);
        });
        Assert.True(profile.Limits.ReadBytesPerSecond > 1e8 && profile.Limits.FlopsPerSecond > 1e8);
        Assert.Equal(model.Config.ParameterCount, profile.Parameters);
        Assert.Equal(model.Policy.Version.Next, profile.Swap.Version);
        Assert.True(profile.Swap.FirstTokenMilliseconds >= profile.Swap.BuildMilliseconds);
    }

    [Fact]
    public async Task RunAsync_NoSlots_IsRefused()
    {
        var error = await Assert.ThrowsAsync<UserErrorException>(() => RolloutProfiler.RunAsync(model.Policy, new RolloutProfileOptions { Slots = [0] }, null, default));
        Assert.StartsWith("profile slots is 0", error.Message, StringComparison.Ordinal);
    }
}

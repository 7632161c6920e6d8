using Microsoft.ML.OnnxRuntime;
using Sapo.Core.Models;
using Sapo.Core.Options;

namespace Sapo.Rollout.Tests;

/// <summary>Engines below 32 bits: how far they are off, and what is refused.</summary>
public sealed class PrecisionTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static readonly EngineOptions Small = new() { Slots = 6, MaxSequenceLength = 48 };

    [Theory]
    [InlineData("int8", "ort"), InlineData("int4", "ort"), InlineData("fp16", "ort"), InlineData("int4", "genai")]
    public async Task StartAsync_BelowFp32_ReportsHowFarItIsOff(string name, string session)
    {
        var precision = PrecisionNames.Parse(name);
        var probe = await SampleAsync();
        await using var engine = await RolloutEngine.StartAsync(WithProbe(model.At(precision), probe), Small with { Precision = name, Session = session }, 2, null, default);
        var mismatch = engine.Mismatch!;
        Assert.Equal(probe.Sum(sequence => sequence.TokenIds.Length - 1), mismatch.Tokens);
        Assert.InRange(mismatch.MeanAbsolute, 1e-5, ProbeTolerance.Of(precision).Mean);
        Assert.True(mismatch.MaxAbsolute >= mismatch.MeanAbsolute && mismatch.KlNats > 0);
        var group = await engine.GenerateAsync(new Prompt { Id = 1, TokenIds = [3, 4, 5] }, 4, new SamplingOptions { MaxNewTokens = 8 }, default);
        Assert.All(group.Completions, completion => Assert.All(completion.BehaviourLogProbs, logProb => Assert.True(float.IsFinite(logProb))));
    }

    [Theory]
    [InlineData("ort"), InlineData("genai")]
    public async Task StartAsync_ProbeLongerThanWhatIsServed_IsStillReplayed(string session)
    {
        var probe = await SampleAsync();
        await using var engine = await RolloutEngine.StartAsync(WithProbe(model.At(Precision.Int8), probe), Small with { Precision = "int8", Session = session, MaxSequenceLength = 8 }, 2, null, default);
        Assert.Equal(probe.Sum(sequence => sequence.TokenIds.Length - 1), engine.Mismatch!.Tokens);
    }

    [Fact]
    public async Task StartAsync_OtherWeights_AreNotTakenForRounding()
    {
        var probe = await SampleAsync();
        ProbeSequence[] flat = [.. probe.Select(sequence => sequence with { LogProbs = [.. sequence.LogProbs.Select(_ => -12f)] })];
        var failed = await Assert.ThrowsAsync<SwapFailedException>(() => RolloutEngine.StartAsync(WithProbe(model.At(Precision.Int8), flat), Small with { Precision = "int8" }, 2, null, default));
        Assert.True(failed.Mismatch.MeanAbsolute > ProbeTolerance.Of(Precision.Int8).Mean);
    }

    [Fact]
    public async Task StartAsync_FolderWithoutThePrecision_IsRefusedByName()
    {
        var refused = await Assert.ThrowsAsync<UserErrorException>(() => RolloutEngine.StartAsync(model.Policy, Small with { Precision = "int4" }, 2, null, default));
        Assert.Contains("int4", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("fp16", "cuda"), InlineData("bf16", "cpu")]
    public async Task StartAsync_WithoutCuda_IsRefusedWithWhatWasFound(string name, string provider)
    {
        if (OrtEnv.Instance().GetAvailableProviders().Contains("CUDAExecutionProvider")) return; // there it runs, or says why not
        var policy = model.At(PrecisionNames.Parse(name));
        var refused = await Assert.ThrowsAsync<UserErrorException>(() => RolloutEngine.StartAsync(policy, Small with { Precision = name, Provider = provider }, 2, null, default));
        Assert.Contains("CPUExecutionProvider", refused.Message, StringComparison.Ordinal);
        Assert.Contains("CUDAExecutionProvider", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task SwapAsync_Int8_ReportsTheNewVersionsMismatch()
    {
        var probe = await SampleAsync();
        var policy = model.At(Precision.Int8);
        await using var engine = await RolloutEngine.StartAsync(policy, Small with { Precision = "int8" }, 2, null, default);
        Assert.Null(engine.Mismatch);
        var report = await engine.SwapAsync(policy with { Manifest = policy.Manifest with { Version = 1, Probe = probe } }, default);
        Assert.Equal(report.Mismatch, engine.Mismatch);
        Assert.True(report.ProbeDifference > 1e-4); // a learner in 32 bits would refuse it
    }

    private async Task<ProbeSequence[]> SampleAsync()
    {
        await using var engine = await RolloutEngine.StartAsync(model.Policy, Small, 2, null, default);
        var group = await engine.GenerateAsync(new Prompt { Id = 0, TokenIds = [1] }, 6, new SamplingOptions { MaxNewTokens = 24, StopTokenIds = [] }, default);
        return [.. group.Completions.Select(completion => new ProbeSequence([1, .. completion.TokenIds], [0, .. completion.BehaviourLogProbs]))];
    }

    private static PublishedPolicy WithProbe(PublishedPolicy policy, IReadOnlyList<ProbeSequence> probe) => policy with { Manifest = policy.Manifest with { Probe = probe } };
}

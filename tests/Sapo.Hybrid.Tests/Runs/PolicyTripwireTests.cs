using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;
using Sapo.Learner.Objectives;

namespace Sapo.Hybrid.Tests.Runs;

/// <summary>Versions that look sound and versions that do not, from groups made by hand.</summary>
public sealed class PolicyTripwireTests
{
    private const int Tokens = 10;

    [Fact]
    public void Examine_FirstVersion_HasNothingToBeComparedWith() => Assert.Null(new PolicyTripwire(new TripwireOptions(), state: null).Examine(Step(0, -4)));

    [Theory]
    [InlineData(-0.30, 0, null)]
    [InlineData(-1.25, 2, null)] // fell by 0.95 nats: within the limit
    [InlineData(-4.16, 0, "its mean log-prob per token is -4.160, it was -0.300 in v000000")] // uniform over 64 ids
    [InlineData(-0.30, 16, "its share of truncated completions is 100 %, it was 0 % in v000000")]
    public void Examine_NextVersion_StopsAtGarbage(double logProb, int truncated, string? expected)
    {
        var tripwire = new PolicyTripwire(new TripwireOptions(), state: null);
        tripwire.Examine(Step(0, -0.3));
        var next = Step(1, logProb, truncated);
        if (expected is not null)
        {
            var error = Assert.Throws<PolicyBrokenException>(() => tripwire.Examine(next));
            Assert.Contains(expected, error.Message, StringComparison.Ordinal);
            Assert.Contains("rollouts/refused.jsonl", error.Message, StringComparison.Ordinal);
            return;
        }
        var comparison = tripwire.Examine(next)!;
        Assert.Equal((1, 0, 16), (comparison.Version, comparison.Previous, comparison.Completions));
        Assert.Equal(logProb, comparison.LogProbNats, 1e-6);
        Assert.Equal(-0.3, comparison.PreviousLogProbNats, 1e-6);
        Assert.Equal((truncated / 16.0, 0.0), (comparison.TruncatedShare, comparison.PreviousTruncatedShare));
    }

    [Fact]
    public void Examine_SlowDecline_StopsWhereItHasFallenBelowTheFirstVersion()
    {
        var tripwire = new PolicyTripwire(new TripwireOptions(), state: null);
        tripwire.Examine(Step(0, -0.5));
        tripwire.Examine(Step(1, -0.9));
        tripwire.Examine(Step(2, -1.3));
        var error = Assert.Throws<PolicyBrokenException>(() => tripwire.Examine(Step(3, -1.7))); // 1.2 below the first, 0.4 below the last
        Assert.Contains("it was -0.500 in v000000, the run's first", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Examine_BecameSharper_GoesOnWhereItStaysWithinTheStep()
    {
        var tripwire = new PolicyTripwire(new TripwireOptions(), state: null);
        foreach (var (version, logProb) in new[] { -3.0, -2.2, -1.4, -0.6, -0.01 }.Index()) tripwire.Examine(Step(version, logProb));
        Assert.Equal(-0.01, tripwire.State!.Current.LogProbs / tripwire.State.Current.Tokens, 1e-6);
    }

    [Fact]
    public void Examine_FewCompletions_AreComparedButEndNoRun()
    {
        var tripwire = new PolicyTripwire(new TripwireOptions(), state: null);
        tripwire.Examine(Step(0, -0.3));
        var few = Step(1, -4, truncated: 0, completions: PolicyTripwire.FewestCompletions - 1);
        Assert.Equal(-4, tripwire.Examine(few)!.LogProbNats, 1e-6);
        Assert.Throws<PolicyBrokenException>(() => tripwire.Examine(Step(1, -4, truncated: 0, completions: 1))); // now there are enough of this version
    }

    [Fact]
    public void Examine_ChanceExplainsTheShare_GoesOn()
    {
        var tripwire = new PolicyTripwire(new TripwireOptions(), state: null);
        tripwire.Examine(Step(0, -1, truncated: 1, completions: 8));
        Assert.Equal(0.75, tripwire.Examine(Step(1, -1, truncated: 6, completions: 8))!.TruncatedShare); // 5/8 more; three deviations of shares 2/10 and 7/10 of eight are 0.64, and 0.5 is allowed beyond them
    }

    [Fact]
    public void Examine_MixedVersions_CountsEachForItself()
    {
        var tripwire = new PolicyTripwire(new TripwireOptions(), state: null);
        tripwire.Examine([.. Step(0, -0.3), .. Step(1, -0.4)]);
        var comparison = tripwire.Examine([.. Step(0, -0.3), .. Step(1, -0.4)])!;
        Assert.Equal((1, 0, 32), (comparison.Version, comparison.Previous, comparison.Completions));
        Assert.Equal(-0.4, comparison.LogProbNats, 1e-6);
        Assert.Equal(-0.3, comparison.PreviousLogProbNats, 1e-6);
        Assert.Throws<PolicyBrokenException>(() => tripwire.Examine([.. Step(1, -0.4), .. Step(2, -3)])); // half of the step is garbage
    }

    [Fact]
    public void Examine_Resumed_ComparesWithWhatWasSeenBefore()
    {
        var straight = new PolicyTripwire(new TripwireOptions(), state: null);
        straight.Examine(Step(0, -0.31));
        straight.Examine(Step(1, -0.33));
        var resumed = new PolicyTripwire(new TripwireOptions(), straight.State);
        Assert.Equal(straight.Examine(Step(2, -0.35)), resumed.Examine(Step(2, -0.35)));
    }

    [Fact]
    public void Examine_LimitsAreNull_NeverStops()
    {
        var tripwire = new PolicyTripwire(new TripwireOptions { LogProbNats = null, TruncatedShare = null, MismatchNats = null }, state: null);
        tripwire.Examine(Step(0, -0.3));
        Assert.Equal(1, tripwire.Examine(Step(1, -9, truncated: 16))!.TruncatedShare);
        tripwire.Examine(Mismatch(50));
    }

    [Theory]
    [InlineData(1e-10, false), InlineData(0.4, false), InlineData(0.6, true), InlineData(double.NaN, true), InlineData(double.PositiveInfinity, true)]
    public void Examine_Mismatch_StopsWhereEngineAndLearnerDisagree(double nats, bool stops)
    {
        var tripwire = new PolicyTripwire(new TripwireOptions(), state: null);
        if (!stops) tripwire.Examine(Mismatch(nats));
        else Assert.Contains("tripwire.mismatchNats", Assert.Throws<PolicyBrokenException>(() => tripwire.Examine(Mismatch(nats))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("logProbNats", 0.0), InlineData("truncatedShare", 1.5), InlineData("mismatchNats", -1.0)]
    public void Validated_LimitOutOfRange_NamesTheMember(string name, double value)
    {
        var json = $$"""
            { "name": "x", "steps": 1, "model": { "create": {} }, "task": { "kind": "addition" }, "tripwire": { "{{name}}": {{value.ToString(System.Globalization.CultureInfo.InvariantCulture)}} } }
            """;
        var error = Assert.Throws<UserErrorException>(() => RunOptionsReader.Parse(System.Text.Encoding.UTF8.GetBytes(json), "run.json"));
        Assert.Contains($"tripwire.{name} is", error.Message, StringComparison.Ordinal);
    }

    private static MismatchDiagnostics Mismatch(double nats) => new(Tokens: 100, Missing: 0, LargestDifference: nats, K1: nats, K3: nats, ChiSquare: nats);

    private static List<ScoredGroup> Step(long version, double logProb, int truncated = 0, int completions = 16)
    {
        var all = Enumerable.Range(0, completions).Select(index => new Completion
        {
            SampleIndex = index,
            TokenIds = new int[Tokens],
            BehaviourLogProbs = new float[Tokens],
            UntruncatedLogProbs = [.. Enumerable.Repeat((float)logProb, Tokens)],
            FinishReason = index < truncated ? FinishReason.Length : FinishReason.Stop,
            VersionSpans = [new VersionSpan(0, Tokens, new PolicyVersion(version))],
        }).ToList();
        return [new ScoredGroup(new RolloutGroup(Fakes.Prompt(1), all, new SamplingOptions()), [], [])];
    }
}

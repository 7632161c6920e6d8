using Sapo.Core.Options;
using Sapo.Hybrid.Preferences;

namespace Sapo.Hybrid.Tests.Preferences;

public sealed class PairVerifierTests
{
    [Theory]
    [InlineData(">132", true)]
    [InlineData("7+5=12,4+8+1=13>132", true)]
    [InlineData("7+5=13,4+8+1=13>132", false)]
    [InlineData("First 3 * 4 = 12, then 12/5 = 2.4.", true)]
    [InlineData("First 3 * 4 = 12, then 12/5 = 2.", false)]
    [InlineData("2-5=-3", true)]
    [InlineData("x = 5 and so on", true)] // no equation between numbers
    public void StatesNothingFalse_Equations_AreChecked(string text, bool expected) => Assert.Equal(expected, PairVerifier.StatesNothingFalse(text));

    [Fact]
    public void RepeatedShare_RunsOfFour_AreCountedFromTheirSecondTime()
    {
        Assert.Equal(0, PairVerifier.RepeatedShare([1, 2, 3]));
        Assert.Equal(0, PairVerifier.RepeatedShare([1, 2, 3, 4, 5, 6]));
        Assert.Equal(0.8, PairVerifier.RepeatedShare([7, 7, 7, 7, 7, 7, 7, 7]), 1e-12); // five runs, four of them again
    }

    [Fact]
    public void Verify_AllRules_SayWhatIsWrong()
    {
        var options = new PreferenceOptions { EverySteps = 1, LeastTokens = 3, MostRepetition = 0.5 };
        var fine = PairVerifier.Verify(Fakes.Completion(0, [1, 2, 3, 4], default), "1+1=2", 1, options);
        Assert.Equal((true, false, false, true), (fine.Correct, fine.Repetitive, fine.TooShort, fine.Consistent));
        var faulty = PairVerifier.Verify(Fakes.Completion(0, [9, 9, 9, 9, 9, 9, 9], default), "1+1=3", null, options);
        Assert.Equal((false, true, false, false), (faulty.Correct, faulty.Repetitive, faulty.TooShort, faulty.Consistent));
        Assert.True(PairVerifier.Verify(Fakes.Completion(0, [1, 2], default), "4", 1, options).TooShort);
    }
}

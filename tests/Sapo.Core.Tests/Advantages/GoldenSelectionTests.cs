using System.Text.Json;
using Sapo.Core.Advantages;
using Sapo.Core.Preferences;
using Sapo.Testing;

namespace Sapo.Core.Tests.Advantages;

/// <summary>Group selection, overlong punishment and preference pairs against golden/objectives.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class GoldenSelectionTests
{
    /// <summary>A few operations on small numbers.</summary>
    private const double Tolerance = 1e-12;

    [Fact]
    public void GroupSelection_EveryCase_Matches()
    {
        var count = new GoldenCount("group selection");
        foreach (JsonElement item in GoldenJson.Read("objectives", "fixture.json").GetProperty("helpers").EnumerateArray())
        {
            JsonElement inputs = item.GetProperty("inputs"), options = item.GetProperty("options"), outputs = item.GetProperty("outputs");
            if (outputs.Find("added_reward") is { } added)
            {
                double[] found = [.. inputs.GetProperty("lengths").Flat().Select(length => GroupSelection.OverlongPenalty(
                    (int)length, options.GetProperty("max_length").GetInt32(), options.GetProperty("cache").GetInt32(), options.GetProperty("penalty").Number()))];
                Assert.All(added.Flat().Zip(found), pair => Assert.Equal(pair.First, pair.Second, Tolerance));
                count.Compared("overlong penalty");
            }
            else if (inputs.Find("metric") is { } metric)
            {
                Assert.Equal(outputs.GetProperty("keep").Flags(), metric.Rows().Select(scores => GroupSelection.IsInformative(scores)));
                count.Compared("dynamic sampling");
            }
            else if (inputs.Find("rewards") is { } rewards && options.Find("n_max") is { } largest)
            {
                Assert.Equal(outputs.GetProperty("keep").Flags(), rewards.Rows().Select(group => GroupSelection.HasLearnableSolveCount(group, options.GetProperty("tau").Number(), largest.GetInt32())));
                count.Compared("solve count");
            }
            else
            {
                count.Excluded($"{item.GetProperty("name").GetString()} is none of our helpers");
            }
        }
        count.Report();
    }

    [Fact]
    public void PreferencePairs_EveryGroup_Matches()
    {
        int groups = 0;
        foreach (JsonElement item in GoldenJson.Read("objectives", "fixture.json").GetProperty("veripo").EnumerateArray())
        {
            if (item.GetProperty("inputs").Find("groups") is not { } inputs) continue;
            foreach ((JsonElement group, JsonElement pairs) in inputs.EnumerateArray().Zip(item.GetProperty("outputs").GetProperty("pairs").EnumerateArray()))
            {
                VerifiedCompletion[] completions = [.. group.EnumerateArray().Select(completion => new VerifiedCompletion(
                    completion.GetProperty("text").GetString()!, completion.GetProperty("correct").GetBoolean(), completion.GetProperty("repetitive").GetBoolean(),
                    completion.GetProperty("too_short").GetBoolean(), completion.Find("consistent")?.GetBoolean()))];
                PreferencePair[] expected = [.. pairs.EnumerateArray().Select(pair => new PreferencePair(
                    pair.GetProperty("chosen").GetInt32(), pair.GetProperty("rejected").GetInt32(), Enum.Parse<PreferenceKind>(pair.GetProperty("kind").GetString()!, ignoreCase: true)))];
                Assert.Equal(expected, PreferencePairs.Of(completions));
                groups++;
            }
        }
        Golden.Report("preference pairs (groups)", groups);
    }
}

using System.Text;
using System.Text.Json;
using Sapo.Hybrid.Rewards.Mathematics;
using Sapo.Testing;

namespace Sapo.Hybrid.Tests.Rewards;

/// <summary>Judgements of the reference set: what a sensible user wants of a verifier.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class VerifierGoldenTests
{
    [Fact]
    public void IsRight_EveryCaseThatIsClaimed_IsJudgedAsIntended()
    {
        int cases = 0, debatable = 0, debatableAsIntended = 0, algebra = 0, algebraAsIntended = 0;
        var wrong = new List<string>();
        foreach (var row in Rows("cases.json"))
        {
            cases++;
            var expected = row.GetProperty("expected").GetInt32() == 1;
            var found = MathReward.IsRight(Text(row, "gold"), Text(row, "completion"), Form(row));
            var needs = Text(row, "needs");
            if (row.GetProperty("debatable").GetBoolean())
            {
                debatable++;
                if (found == expected) debatableAsIntended++;
            }
            else if (needs == "cas" && expected)
            {
                // Equality of expressions with variables is decided where polynomials do; a missed one is no error, a false one is.
                algebra++;
                if (found) algebraAsIntended++;
            }
            else if (found != expected)
            {
                wrong.Add($"{Text(row, "category")} ({needs}): gold {Text(row, "gold")}, expected {(expected ? "right" : "wrong")}: {Text(row, "completion")}");
            }
        }
        Golden.Report("verifier cases", cases);
        Console.WriteLine($"verifier: debatable as intended {debatableAsIntended} of {debatable}, algebra {algebraAsIntended} of {algebra}");
        Assert.True(wrong.Count == 0, $"{wrong.Count} cases:\n{string.Join('\n', wrong)}");
    }

    [Fact]
    public void IsRight_HostileTexts_AreJudgedOrRefused()
    {
        // Time and memory are bounded by construction; a hang or a crash would end the test run.
        var cases = 0;
        foreach (var row in Rows("hostile.json"))
        {
            var completion = new StringBuilder();
            foreach (var part in row.GetProperty("parts").EnumerateArray())
                completion.Insert(completion.Length, Text(part, "text"), part.GetProperty("times").GetInt32());
            var found = MathReward.IsRight(Text(row, "gold"), completion.ToString(), Form(row));
            MathReward.IsRight(Text(row, "gold"), completion.ToString(), AnswerForm.Any);
            Assert.True(row.GetProperty("either_accepted").GetBoolean() || found == (row.GetProperty("expected").GetInt32() == 1), Text(row, "id"));
            cases++;
        }
        Golden.Report("verifier hostile texts", cases);
    }

    private static AnswerForm Form(JsonElement row) => Text(row, "mode") switch
    {
        "boxed" => AnswerForm.Boxed,
        "gsm8k" => AnswerForm.HashMarks,
        "plain" => AnswerForm.Sentence,
        "reasoning" => AnswerForm.BoxedAfterThought,
        var mode => throw new InvalidDataException($"Unknown mode {mode}."),
    };

    private static string Text(JsonElement row, string name) => row.GetProperty(name).GetString()!;

    private static IEnumerable<JsonElement> Rows(string file)
    {
        var path = Golden.PathOf("verifier", file);
        if (!File.Exists(path)) yield break;
        using var document = JsonDocument.Parse(File.ReadAllBytes(path));
        foreach (var row in document.RootElement.GetProperty("cases").EnumerateArray()) yield return row;
    }
}

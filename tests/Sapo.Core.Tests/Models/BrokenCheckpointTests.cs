using System.Text.Json;
using Sapo.Core.Models;

namespace Sapo.Core.Tests.Models;

/// <summary>Every broken reference checkpoint is refused with a message that names what is wrong; the sound one is accepted.</summary>
public sealed class BrokenCheckpointTests
{
    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Open_BrokenCheckpoint_NamesWhatIsWrong()
    {
        var cases = Cases().ToList();
        var complaints = new List<string>();
        foreach (var (folder, accept, mustMention) in cases)
        {
            var message = Load(Golden.PathOf("hf", "broken", folder));
            if (accept && message is not null) complaints.Add($"{folder} was refused: {message}");
            if (accept) continue;
            if (message is null) complaints.Add($"{folder} was accepted");
            else
                complaints.AddRange(mustMention.Where(text => !message.Contains(text, StringComparison.OrdinalIgnoreCase)).Select(text => $"{folder} does not mention {text}: {message}"));
        }
        Assert.True(complaints.Count == 0, string.Join('\n', complaints));
        Golden.Report("broken checkpoints", cases.Count);
    }

    // Opens a folder and reads every weight, as learner and importer do: the message of the refusal, or null.
    private static string? Load(string folder)
    {
        try
        {
            using var checkpoint = HuggingFaceCheckpoint.Open(folder);
            foreach (var (name, shape) in checkpoint.Config.Parameters())
                checkpoint.CopyTo(name, new float[shape.Aggregate(1L, (product, size) => product * size)]);
            return null;
        }
        catch (UserErrorException refusal)
        {
            return refusal.Message;
        }
    }

    private static IEnumerable<(string Folder, bool Accept, string[] MustMention)> Cases()
    {
        var path = Golden.PathOf("hf", "broken", "cases.json");
        if (!File.Exists(path)) yield break;
        using var document = JsonDocument.Parse(File.ReadAllBytes(path));
        foreach (var item in List(document.RootElement))
            yield return (
                item.GetProperty("folder").GetString()!, item.GetProperty("accept").GetBoolean(),
                item.TryGetProperty("must_mention", out var texts) ? [.. texts.EnumerateArray().Select(text => text.GetString()!)] : []);
    }

    private static JsonElement.ArrayEnumerator List(JsonElement root) =>
        (root.ValueKind == JsonValueKind.Array ? root : root.GetProperty("cases")).EnumerateArray();
}

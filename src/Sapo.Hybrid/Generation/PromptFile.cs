using Sapo.Core;

namespace Sapo.Hybrid.Generation;

/// <summary>A JSONL file of prompts.</summary>
public static class PromptFile
{
    /// <summary>Reads all lines; empty ones are passed over, their numbers are not given to others.</summary>
    /// <param name="path">The file.</param>
    /// <param name="onBadLine">Told of a line that cannot be read, which is then left out; null: such a line is an error.</param>
    /// <exception cref="UserErrorException">No such file, no prompt in it, or a bad line.</exception>
    public static IReadOnlyList<PromptLine> Read(string path, Action<UserErrorException>? onBadLine = null)
    {
        if (!File.Exists(path))
            throw new UserErrorException($"{path} does not exist", "a JSONL file with one prompt per line", "Check the path");
        var found = new List<PromptLine>();
        var number = 0;
        foreach (var line in File.ReadLines(path))
        {
            number++;
            if (string.IsNullOrWhiteSpace(line)) continue;
            try
            {
                found.Add(PromptLine.Parse(line, path, number));
            }
            catch (UserErrorException bad) when (onBadLine is not null)
            {
                onBadLine(bad);
            }
        }
        if (found.Count == 0) throw new UserErrorException($"{path} holds no prompt", "one JSON object per line", "Check the file");
        return found;
    }
}

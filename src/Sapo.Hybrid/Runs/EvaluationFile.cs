using System.Text.Json;
using Sapo.Core;

namespace Sapo.Hybrid.Runs;

/// <summary>evaluation/before.json and after.json.</summary>
internal static class EvaluationFile
{
    /// <summary>The result, or null if there is none yet.</summary>
    /// <exception cref="UserErrorException">The file is broken.</exception>
    public static EvaluationResult? Read(RunFolder folder, string when)
    {
        var path = folder.Evaluation(when);
        if (!File.Exists(path)) return null;
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), RunJson.Default.EvaluationResult);
        }
        catch (JsonException broken)
        {
            throw new UserErrorException($"{path} cannot be read: {broken.Message}", "the result of an evaluation", "Remove it and run again: the problems are then asked again by the policy at hand", broken);
        }
    }

    /// <summary>Writes the result.</summary>
    public static void Write(RunFolder folder, string when, EvaluationResult result)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(folder.Evaluation(when))!);
        AtomicFile.WriteAllBytes(folder.Evaluation(when), JsonSerializer.SerializeToUtf8Bytes(result, RunJson.Default.EvaluationResult));
    }
}

using System.Text.Json;
using Sapo.Core;

namespace Sapo.Hybrid.Runs;

/// <summary>evaluation/before.json and after.json.</summary>
internal static class EvaluationFile
{
    /// <summary>The result, or null if there is none yet.</summary>
    public static EvaluationResult? Read(RunFolder folder, string when) =>
        File.Exists(folder.Evaluation(when))
            ? JsonSerializer.Deserialize(File.ReadAllBytes(folder.Evaluation(when)), RunJson.Default.EvaluationResult)
            : null;

    /// <summary>Writes the result.</summary>
    public static void Write(RunFolder folder, string when, EvaluationResult result)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(folder.Evaluation(when))!);
        AtomicFile.WriteAllBytes(folder.Evaluation(when), JsonSerializer.SerializeToUtf8Bytes(result, RunJson.Default.EvaluationResult));
    }
}

using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Sapo.Core;

namespace Sapo.Hybrid.Profiling;

/// <summary>Saves profiles: the numbers as JSON, the tables as Markdown.</summary>
public static class ProfileFiles
{
    /// <summary>Writes rollout.json and rollout.md.</summary>
    /// <returns>The path of the JSON file.</returns>
    /// <exception cref="UserErrorException">The folder cannot be written.</exception>
    public static string Save(string folder, RolloutProfile profile) => Save(folder, "rollout", profile, ProfileJson.Default.RolloutProfile, ProfileText.Of(profile));

    /// <summary>Writes learner.json and learner.md.</summary>
    /// <inheritdoc cref="Save(string, RolloutProfile)"/>
    public static string Save(string folder, LearnerProfile profile) => Save(folder, "learner", profile, ProfileJson.Default.LearnerProfile, ProfileText.Of(profile));

    /// <summary>Makes sure that a folder can be written, before minutes are spent on measuring.</summary>
    /// <exception cref="UserErrorException">It cannot.</exception>
    public static void Prepare(string folder)
    {
        var probe = Path.Combine(folder, ".writable");
        Guarded(folder, () =>
        {
            Directory.CreateDirectory(folder);
            File.WriteAllBytes(probe, []);
            File.Delete(probe);
        });
    }

    private static string Save<T>(string folder, string name, T profile, JsonTypeInfo<T> type, string text)
    {
        var json = Path.Combine(folder, name + ".json");
        Guarded(folder, () =>
        {
            Directory.CreateDirectory(folder);
            AtomicFile.WriteAllBytes(json, JsonSerializer.SerializeToUtf8Bytes(profile, type));
            AtomicFile.WriteAllBytes(Path.Combine(folder, name + ".md"), Encoding.UTF8.GetBytes(text));
        });
        return json;
    }

    private static void Guarded(string folder, Action write)
    {
        try
        {
            write();
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"{folder} cannot be written: {failure.Message}", "a folder with some room", "Name another folder with --out", failure);
        }
    }
}

/// <summary>Reads and writes profiles as JSON.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(RolloutProfile))]
[JsonSerializable(typeof(LearnerProfile))]
public sealed partial class ProfileJson : JsonSerializerContext;

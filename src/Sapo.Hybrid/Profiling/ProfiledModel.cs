using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Hybrid.Generation;
using Sapo.Sync;

namespace Sapo.Hybrid.Profiling;

/// <summary>The model whose speed is measured: a folder, or a shape with random weights in a temporary folder that lives as long as this object.</summary>
public sealed class ProfiledModel : IDisposable
{
    private const long Seed = 1;

    private readonly string? _temporary;
    private readonly Action<string> _say;
    private readonly Dictionary<Precision, ServedModel> _served = [];

    private ProfiledModel(string name, string folder, string? temporary, Action<string> say)
    {
        (Name, Folder, _temporary, _say) = (name, folder, temporary, say);
        Config = ModelConfigReader.Read(folder);
    }

    /// <summary>The shape's name, or the folder's.</summary>
    public string Name { get; }

    /// <summary>A Hugging Face folder.</summary>
    public string Folder { get; }

    /// <summary>The architecture.</summary>
    public ModelConfig Config { get; }

    /// <summary>The model as an engine serves it in 32 bits; imported at the first call where it has to be.</summary>
    /// <exception cref="UserErrorException">The folder is broken, or the disk is full.</exception>
    public PublishedPolicy Policy => PolicyAt(Precision.Fp32);

    /// <summary>The same at any precision.</summary>
    /// <exception cref="UserErrorException">The folder is broken, the disk is full, or the model cannot be served at the precision.</exception>
    public PublishedPolicy PolicyAt(Precision precision)
    {
        if (!_served.TryGetValue(precision, out var served)) _served.Add(precision, served = ServedModel.Open(Folder, precision, _say));
        return served.Policy;
    }

    /// <summary>Opens a folder or makes a shape; exactly one of them is named.</summary>
    /// <param name="folder">A published policy or a Hugging Face folder, or null.</param>
    /// <param name="shape">A name of <see cref="ModelShapes"/>, or null.</param>
    /// <param name="say">Told what takes a while.</param>
    /// <exception cref="UserErrorException">None or both are named, the shape is unknown, the folder is no model, or the disk is full.</exception>
    public static ProfiledModel Open(string? folder, string? shape, Action<string> say)
    {
        if (folder is null == shape is null)
            throw new UserErrorException($"{(folder is null ? "neither --model nor --shape is" : "both --model and --shape are")} given", "one of the two", "Name a model folder, or a shape to be filled with random weights");
        if (folder is not null) return new ProfiledModel(Path.GetFileName(Path.GetFullPath(folder).TrimEnd(Path.DirectorySeparatorChar)), folder, null, say);
        var config = ModelShapes.Named(shape!);
        var temporary = Directory.CreateTempSubdirectory("sapo-profile-").FullName;
        try
        {
            say($"Making {shape}: {config.ParameterCount / 1e6:N1} million random weights ...");
            HuggingFaceFolder.Create(Path.Combine(temporary, "model"), config, Seed);
            return new ProfiledModel(shape!, Path.Combine(temporary, "model"), temporary, say);
        }
        catch
        {
            Directory.Delete(temporary, recursive: true);
            throw;
        }
    }

    /// <summary>Removes what was made.</summary>
    public void Dispose()
    {
        foreach (var served in _served.Values) served.Dispose();
        if (_temporary is not null) Directory.Delete(_temporary, recursive: true);
    }
}

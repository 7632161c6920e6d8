using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;

namespace Sapo.Rollout.Decoding;

/// <summary>The weights of one version as tensors that point into its mapped files. Owns mappings and tensors; a session that was given them goes first.</summary>
internal sealed class MappedWeights : IDisposable
{
    private const string PublishAgain = "Publish or import the model again";

    private readonly List<SafetensorsFile> _files = [];
    private readonly List<OrtValue> _tensors = [];

    /// <summary>Bytes of all tensors.</summary>
    public long Bytes { get; private set; }

    /// <summary>Maps what a decode graph reads.</summary>
    /// <param name="folder">A published folder.</param>
    /// <param name="config">Its model.</param>
    /// <param name="precision">The graph's.</param>
    /// <returns>The graph's initializers by name.</returns>
    /// <exception cref="UserErrorException">A file or tensor is missing, broken or of another model.</exception>
    public IEnumerable<(string Name, OrtValue Tensor)> Map(string folder, ModelConfig config, Precision precision)
    {
        var layout = precision == Precision.Fp32 ? null : new ReducedLayout(config, precision);
        var kept = config.Parameters().Where(parameter => layout?.IsKept(parameter.Name) != false).Select(parameter => new TensorHeader(parameter.Name, WeightType.F32, parameter.Shape)).ToList();
        return [.. Map(folder, PublishedPolicy.WeightsFile, kept), .. layout is null ? [] : Map(folder, PublishedPolicy.WeightsFileOf(precision), [.. layout.Tensors.Select(tensor => tensor.Header)])];
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var tensor in _tensors) tensor.Dispose();
        foreach (var file in _files) file.Dispose();
    }

    private List<(string, OrtValue)> Map(string folder, string name, List<TensorHeader> headers)
    {
        var mapped = new List<(string, OrtValue)>();
        if (headers.Count == 0) return mapped;
        var file = SafetensorsFile.Open(Path.Combine(folder, name));
        _files.Add(file);
        foreach (var header in headers)
        {
            var entry = file.Find(header.Name) ?? throw new UserErrorException($"{file.Path} has no {header.Name}", null, PublishAgain);
            if (entry.Type != header.Type || !entry.Shape.SequenceEqual(header.Shape))
                throw new UserErrorException($"{file.Path} holds {header.Name} as {entry.Type} [{string.Join(", ", entry.Shape)}], config.json implies {header.Type} [{string.Join(", ", header.Shape)}]", null, PublishAgain);
            var tensor = OrtValue.CreateTensorValueWithData(OrtMemoryInfo.DefaultInstance, TypeOf(header.Type), entry.Shape, file.AddressOf(entry), entry.Bytes);
            _tensors.Add(tensor);
            Bytes += entry.Bytes;
            mapped.Add((header.Name, tensor));
        }
        return mapped;
    }

    private static TensorElementType TypeOf(WeightType type) => type switch
    {
        WeightType.U8 => TensorElementType.UInt8,
        WeightType.F16 => TensorElementType.Float16,
        WeightType.BF16 => TensorElementType.BFloat16,
        _ => TensorElementType.Float,
    };
}

using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;

namespace Sapo.Sync;

/// <summary>Makes Hugging Face model folders.</summary>
public static class HuggingFaceFolder
{
    private const int PieceElements = 1 << 20;

    /// <summary>
    /// Makes a model with random weights: every matrix normal(0, <paramref name="standardDeviation"/>), every norm weight 1,
    /// every bias 0. The same arguments give the same bytes on every machine. Writes model.safetensors (F32), then config.json.
    /// </summary>
    /// <param name="folder">Made if it does not exist; must not hold a model yet.</param>
    /// <param name="config">The model.</param>
    /// <param name="seed">Seed of the weights.</param>
    /// <param name="standardDeviation">Of every matrix; transformers' own default (initializer_range) is 0.02.</param>
    /// <exception cref="UserErrorException">The folder already holds a model, or cannot be written.</exception>
    public static void Create(string folder, ModelConfig config, long seed, double standardDeviation = 0.02)
    {
        string configPath = Path.Combine(folder, "config.json"), weightsPath = Path.Combine(folder, PublishedPolicy.WeightsFile);
        if (File.Exists(configPath) || File.Exists(weightsPath))
            throw new UserErrorException($"{folder} already holds a model", "a folder without one", "Name another folder, or remove this one");
        var configJson = ModelConfigWriter.Write(config);
        TensorHeader[] tensors = [.. config.Parameters().Select(parameter => new TensorHeader(parameter.Name, WeightType.F32, parameter.Shape))];
        try
        {
            Directory.CreateDirectory(folder);
            AtomicFile.Write(weightsPath, stream => SafetensorsWriter.Write(stream, tensors, index => Initial(tensors[index], seed, index, standardDeviation)));
            AtomicFile.WriteAllBytes(configPath, configJson);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"{folder} cannot be written: {failure.Message}", $"room for {tensors.Sum(tensor => tensor.Bytes):N0} bytes", "Name another folder or free some space", failure);
        }
    }

    private static IEnumerable<ReadOnlyMemory<byte>> Initial(TensorHeader tensor, long seed, int index, double standardDeviation)
    {
        var elements = tensor.Bytes / sizeof(float);
        var gaussian = new SeededGaussian(seed, index);
        var bytes = new byte[Math.Min(elements, PieceElements) * sizeof(float)];
        for (long start = 0; start < elements; start += PieceElements)
        {
            var piece = bytes.AsMemory(0, (int)Math.Min(PieceElements, elements - start) * sizeof(float));
            var values = MemoryMarshal.Cast<byte, float>(piece.Span);
            if (tensor.Shape.Count == 2) Fill(values, gaussian, standardDeviation);
            else values.Fill(tensor.Name.EndsWith(".bias", StringComparison.Ordinal) ? 0 : 1);
            yield return piece;
        }
    }

    private static void Fill(Span<float> values, SeededGaussian gaussian, double standardDeviation)
    {
        foreach (ref var value in values) value = (float)(standardDeviation * gaussian.Next());
    }
}

namespace Sapo.Core;

/// <summary>Element types that weights and optimizer states are stored in, named as safetensors names them.</summary>
public enum WeightType
{
    /// <summary>IEEE 754, 4 bytes.</summary>
    F32,

    /// <summary>IEEE 754, 2 bytes.</summary>
    F16,

    /// <summary>The upper half of an F32, 2 bytes.</summary>
    BF16,

    /// <summary>IEEE 754, 8 bytes.</summary>
    F64,

    /// <summary>Signed, 8 bytes.</summary>
    I64,

    /// <summary>Signed, 4 bytes.</summary>
    I32,

    /// <summary>Unsigned, 1 byte.</summary>
    U8,

    /// <summary>0 or 1, 1 byte.</summary>
    BOOL,
}

/// <summary>One named buffer.</summary>
/// <param name="Name">The Hugging Face checkpoint name.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Dimensions, outermost first; empty for a scalar.</param>
/// <param name="Data">Its bytes.</param>
public sealed record WeightTensor(string Name, WeightType Type, long[] Shape, WeightData Data);

/// <summary>
/// A sequence whose log-probs under one version are known from the learner: position t (from 1) holds the log-prob of
/// TokenIds[t] given the tokens before it, at temperature 1. An engine that serves the version must reproduce them.
/// </summary>
/// <param name="TokenIds">At least 2 ids.</param>
/// <param name="LogProbs">One per id; the first is 0, no probability belongs to it.</param>
public sealed record ProbeSequence(int[] TokenIds, float[] LogProbs);

/// <summary>All weights of one policy version, in memory. The buffers are borrowed from the learner and valid until its next step.</summary>
/// <param name="Version">The version these weights are.</param>
/// <param name="Tensors">Every tensor of the checkpoint, in the order they are written.</param>
/// <param name="Probe">What the learner says of a few sequences under these weights.</param>
public sealed record WeightSnapshot(PolicyVersion Version, IReadOnlyList<WeightTensor> Tensors, IReadOnlyList<ProbeSequence> Probe);

namespace Sapo.Hybrid.Doctor;

/// <summary>One native engine, after an attempt to load it.</summary>
/// <param name="Version">Its version; null where it could not be loaded.</param>
/// <param name="Failure">Why it could not be loaded; null where it could.</param>
/// <param name="SeesGpu">True where it was built for CUDA and finds a usable device.</param>
public sealed record EngineState(string? Version, string? Failure, bool SeesGpu = false);

/// <summary>The native engines this program was built with, after an attempt to load each.</summary>
/// <param name="Runtime">The choice of engines this program was built with: cuda, cpu or local (eng/Runtime.props).</param>
/// <param name="OnnxRuntime">ONNX Runtime.</param>
/// <param name="GenAI">ONNX Runtime GenAI, which needs ONNX Runtime.</param>
/// <param name="Torch">libtorch.</param>
/// <param name="TorchThreads">The threads the learner computes with; 0 where libtorch could not be loaded.</param>
/// <param name="Blas">The matrix product library that libtorch loaded, and its kernels where it tells.</param>
public sealed record EngineReport(string Runtime, EngineState OnnxRuntime, EngineState GenAI, EngineState Torch, int TorchThreads, string Blas);
